//! etcd is away, killed, restored, emptied, compacted, full or cut off: nobody is removed, and all is right afterwards.

use std::{
    thread,
    time::{Duration, Instant},
};

use membership::{Connection, Done, Registration};

use crate::harness::{
    PATIENCE,
    etcd::{Etcd, Options},
    host::{Host, PREFIX, Watch, names},
    proxy::Proxy,
    trio::Trio,
    wait_for,
};

fn hosts(urls: &[String], count: u8) -> Vec<Host> {
    let hosts = (1..=count).map(|number| Host::new(urls, &format!("web-{number}"), number));
    hosts.collect()
}

fn fine(watch: &Watch) {
    watch.wait("its record is there", |news| {
        news.registration == Registration::Fine
    });
}

#[test]
fn stopped_and_started_again_it_finds_the_list_unchanged_and_nodes_present() {
    let mut etcd = Etcd::start();
    let hosts = hosts(&[etcd.url()], 2);
    let watch = hosts[0].run();
    let second = hosts[1].run();
    let before = watch.wait_present("web-2");
    etcd.stop();
    let why = watch.wait_away();
    assert!(why.contains(&etcd.url()), "{why}");
    assert_eq!(names(&watch.news()), names(&before));
    second.wait_away();
    etcd.run();
    watch.wait_connected();
    second.wait_connected();
    watch.wait_present("web-1");
    let after = watch.wait_present("web-2");
    assert_eq!(names(&after), names(&before));
    assert_eq!(after.list, before.list, "the node had nothing to do");
    assert_eq!(after.seen.restored, 0);
    // A watcher without a list of its own comes to the same.
    assert_eq!(hosts[0].stored().nodes.len(), 2);
}

#[test]
fn killed_in_the_middle_of_joins_it_has_all_that_were_done_and_takes_the_others_later() {
    let mut etcd = Etcd::start();
    let urls = [etcd.url()];
    let watcher = Host::new(&urls, "watcher", 250);
    let watch = watcher.watch();
    watch.wait_connected();
    let hosts = hosts(&urls, 50);
    let done: Vec<bool> = thread::scope(|scope| {
        let joins: Vec<_> = hosts
            .iter()
            .map(|host| scope.spawn(|| host.join_within(Duration::ZERO).is_ok()))
            .collect();
        watch.wait("some have joined", |news| news.members.nodes.len() >= 5);
        etcd.kill();
        joins.into_iter().map(|join| join.join().unwrap()).collect()
    });
    etcd.run();
    let joined = |name: &str| {
        watch
            .news()
            .members
            .nodes
            .iter()
            .any(|(it, _)| it.name == name)
    };
    watch.wait_connected();
    for (host, _) in hosts.iter().zip(&done).filter(|(_, done)| **done) {
        wait_for(&host.name, PATIENCE, || joined(&host.name).then_some(()));
    }
    for host in &hosts {
        // Also who had written its record and did not hear of it.
        host.join()
            .unwrap_or_else(|why| panic!("{}: {why:#}", host.name));
    }
    watch.wait("all are there", |news| {
        news.members.nodes.len() == hosts.len()
    });
}

#[test]
fn restored_from_a_backup_it_removes_nobody_and_those_who_left_stay_away() {
    let mut etcd = Etcd::start();
    let mut hosts = hosts(&[etcd.url()], 5);
    for host in &mut hosts {
        // So many that those who go here are less than a third.
        let local = (1..=9).map(|number| (format!("server-{number}"), Vec::new()));
        host.settings.local = local.collect();
    }
    let watch = hosts[0].run();
    let second = hosts[1].run();
    hosts[2].join().unwrap();
    let backup = etcd.backup("backup");
    // After the backup one leaves, one joins and runs, another one joins and is away.
    hosts[2].leave().unwrap();
    let fourth = hosts[3].run();
    hosts[4].join().unwrap();
    let all = ["web-1", "web-2", "web-4", "web-5"];
    watch.wait_names(&all);
    etcd.restore(&backup);
    watch.wait("it was restored", |news| news.seen.restored == 1);
    fourth.wait("it was restored", |news| news.seen.restored == 1);
    fine(&fourth);
    watch.wait_present("web-4");
    watch.wait_names(&all);
    watch.wait_absent("web-5");
    second.wait_names(&all);
    // Who has been lost can leave, and can be forgotten.
    drop(fourth);
    hosts[3].leave().unwrap();
    watch.wait_names(&["web-1", "web-2", "web-5"]);
    hosts[0].forget("web-5", false).unwrap();
    watch.wait_names(&["web-1", "web-2"]);
}

#[test]
fn who_left_while_etcd_had_lost_it_is_gone_everywhere() {
    let mut etcd = Etcd::start();
    let hosts = hosts(&[etcd.url()], 3);
    let watches: Vec<Watch> = hosts.iter().map(Host::run).collect();
    watches[0].wait_present("web-3");
    drop(watches.into_iter().nth(2));
    etcd.wipe("another");
    let watch = hosts[0].watch();
    watch.wait_connected();
    hosts[2].leave().unwrap();
    watch.wait_names(&["web-1", "web-2"]);
}

#[test]
fn emptied_it_is_filled_by_those_who_run() {
    let mut etcd = Etcd::start();
    let hosts = hosts(&[etcd.url()], 3);
    let watches: Vec<Watch> = hosts.iter().map(Host::run).collect();
    let all = ["web-1", "web-2", "web-3"];
    for watch in &watches {
        watch.wait_names(&all);
    }
    etcd.wipe("another");
    for watch in &watches {
        watch.wait("it was emptied", |news| news.seen.restored == 1);
        fine(watch);
    }
    for name in all {
        watches[0].wait_present(name);
    }
    watches[0].wait_names(&all);
    assert_eq!(etcd.keys(&format!("{PREFIX}members/")).len(), 3);
}

#[test]
fn what_was_compacted_while_a_watcher_was_away_is_read_anew() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.ports.client);
    let watcher = Host::new(&[proxy.url()], "web-1", 1);
    let watch = watcher.run();
    let others = Host::new(&[etcd.url()], "web-2", 2);
    others.join().unwrap();
    watch.wait_names(&["web-1", "web-2"]);
    proxy.cut();
    watch.wait_away();
    others.leave().unwrap();
    let third = Host::new(&[etcd.url()], "web-3", 3);
    third.join().unwrap();
    etcd.ctl(&["compact", &etcd.revision().to_string()]);
    assert_eq!(names(&watch.news()), ["web-1", "web-2"]);
    proxy.mend();
    watch.wait_names(&["web-1", "web-3"]);
    watch.wait_present("web-1");
}

#[test]
fn while_it_is_away_the_attempts_are_few() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.ports.client);
    let watcher = Host::new(&[proxy.url()], "web-1", 1);
    let watch = watcher.run();
    proxy.cut();
    watch.wait_away();
    let before = (proxy.accepted(), Instant::now());
    thread::sleep(Duration::from_secs(10));
    let made = proxy.accepted() - before.0;
    // 0.25 s at least, then 0.5, 1, 2, 3.
    assert!(
        (1..=12).contains(&made),
        "{made} in {:?}",
        before.1.elapsed()
    );
}

#[test]
fn a_member_that_hangs_or_is_cut_off_from_the_others_is_left_for_another_one() {
    let trio = Trio::start();
    let watcher = Host::new(&trio.urls(), "web-1", 1);
    let watch = watcher.run();
    let first = watch.wait_connected();
    let at = trio.at(&first);
    trio.cut_off(at);
    let began = Instant::now();
    let elsewhere = |first: &str| {
        let first = first.to_owned();
        let news = watch.wait(
            "it is at another member",
            move |news| matches!(&news.connection, Connection::Connected(url, _) if *url != first),
        );
        drop(news);
        watch.wait_connected()
    };
    let second = elsewhere(&first);
    println!("cut off: left after {:?}", began.elapsed());
    trio.mend();
    trio.wait_for_leader(at);
    let hung = trio.at(&second);
    let began = Instant::now();
    trio.members[hung].pause();
    elsewhere(&second);
    println!("hung: left after {:?}", began.elapsed());
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "{:?}",
        began.elapsed()
    );
    trio.members[hung].resume();
    watch.wait_present("web-1");
}

#[test]
fn with_its_disk_full_the_watch_goes_on_and_it_heals() {
    let etcd = Etcd::start_with(Options {
        arguments: vec!["--quota-backend-bytes".to_owned(), (1 << 21).to_string()],
        ..Options::default()
    });
    let host = Host::new(&[etcd.url()], "web-1", 1);
    host.join().unwrap();
    let mut number = 0;
    let full = || {
        number += 1;
        let value = "x".repeat(100_000);
        let _ = etcd.try_ctl(&["put", &format!("/other/{number}"), &value]);
        etcd.ctl(&["alarm", "list"])
            .contains("NOSPACE")
            .then_some(())
    };
    wait_for("a full disk", PATIENCE, full);
    let watch = host.watch();
    watch.wait_connected();
    let told = watch.wait("the problem is told", |news| news.own_problem.is_some());
    let told = told.own_problem.unwrap();
    assert!(told.contains("space exceeded"), "{told}");
    let refused = Host::new(&[etcd.url()], "web-2", 2);
    let refused = format!("{:#}", refused.join_within(Duration::ZERO).unwrap_err());
    assert!(refused.contains("space exceeded"), "{refused}");
    // Deleting goes on, and is heard.
    etcd.ctl(&["del", &format!("{PREFIX}members/web-1")]);
    watch.wait("its record is missed", |news| {
        news.registration == Registration::Missing
    });
    etcd.ctl(&["del", "--prefix", "/other/"]);
    etcd.ctl(&["compact", &etcd.revision().to_string()]);
    etcd.ctl(&["defrag"]);
    etcd.ctl(&["alarm", "disarm"]);
    fine(&watch);
    watch.wait_present("web-1");
    watch.wait("the problem is over", |news| news.own_problem.is_none());
    assert_eq!(host.join().unwrap(), Done::Before);
}
