//! What others may write, and how much of it: it changes nothing for those who keep to the rules.

use std::{fs, time::Duration};

use membership::Presence;

use crate::harness::{
    etcd::Etcd,
    host::{Host, PREFIX, Watch, names, presence},
};

/// The ids of nodes that only their records know.
fn record(name: &str, number: u32) -> (String, Vec<u8>) {
    let value = format!(
        r#"{{"version":1,"id":"{number:032x}","serial":1,"node":{{"name":"{name}","role":"client","addresses":["10.{}.{}.{}"]}}}}"#,
        number >> 16,
        (number >> 8) & 255,
        number & 255
    );
    (format!("{PREFIX}members/{name}"), value.into_bytes())
}

#[test]
fn rubbish_and_values_of_a_mebibyte_change_nothing() {
    let etcd = Etcd::start();
    let urls = [etcd.url()];
    let host = Host::new(&urls, "web-1", 1);
    let watch = host.run();
    let key = |name: &str| format!("{PREFIX}{name}");
    let mut rubbish = vec![
        (key("members/web-2"), b"\x1b[2J".to_vec()),
        (key("members/web-3"), br#"{"version":1,"id":"x"}"#.to_vec()),
        (key("members/"), b"x".to_vec()),
        (key("alive/web-1/x"), b"x".to_vec()),
        (key("accept"), vec![b'['; 500_000]),
        (key("weather"), b"rain".to_vec()),
    ];
    // Eight of them are more than an answer of etcd can have.
    for number in 0..8 {
        rubbish.push((key(&format!("members/big-{number}")), vec![b'x'; 1 << 20]));
    }
    for pair in rubbish {
        etcd.put_all(&[pair], None);
    }
    let news = watch.wait("it was refused", |news| news.seen.refused >= 10);
    assert_eq!(names(&news), ["web-1"]);
    assert_eq!(news.retries, 0, "{:?}", news.connection);
    for why in news.members.refused.values() {
        assert!(why.len() < 300 && !why.contains(char::is_control), "{why}");
    }
    // Who comes later reads all of it at once.
    let late = Host::new(&urls, "web-4", 4);
    let second = late.run();
    second.wait_names(&["web-1", "web-4"]);
    watch.wait_present("web-4");
}

#[test]
fn rubbish_in_place_of_its_own_record_is_written_over() {
    let etcd = Etcd::start();
    let urls = [etcd.url()];
    let host = Host::new(&urls, "web-1", 1);
    let watch = host.run();
    let key = format!("{PREFIX}members/web-1");
    let before = etcd.keys(PREFIX)[&key].clone();
    etcd.ctl(&["put", &key, "rubbish"]);
    watch.wait("it was refused", |news| news.seen.refused > 0);
    let other = Host::new(&urls, "web-2", 2);
    let second = other.run();
    second.wait_names(&["web-1", "web-2"]);
    assert_eq!(etcd.keys(PREFIX)[&key], before);
}

#[test]
fn an_alive_key_that_somebody_deletes_is_put_again() {
    let etcd = Etcd::start();
    let urls = [etcd.url()];
    let host = Host::new(&urls, "web-1", 1);
    let watch = host.run();
    let other = Host::new(&urls, "web-2", 2);
    let second = other.run();
    second.wait_present("web-1");
    for _ in 0..3 {
        let before = second.news().revision;
        etcd.ctl(&["del", &format!("{PREFIX}alive/web-1")]);
        second.wait("it was put again", |news| news.revision >= before + 2);
        second.wait_present("web-1");
    }
    watch.wait_present("web-1");
    // Nor does the one drive the other: both rest.
    let revision = etcd.revision();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(etcd.revision(), revision);
}

#[test]
fn two_that_run_with_one_identity_do_not_fight() {
    let etcd = Etcd::start();
    let host = Host::new(&[etcd.url()], "web-1", 1);
    let first = host.run();
    let second = host.watch();
    second.wait_connected();
    second.wait_present("web-1");
    let revision = etcd.revision();
    std::thread::sleep(Duration::from_secs(3));
    assert!(
        etcd.revision() <= revision + 1,
        "{}",
        etcd.revision() - revision
    );
    drop(second);
    // Its end took the key with it, and the other one puts it again.
    std::thread::sleep(Duration::from_millis(500));
    first.wait_present("web-1");
}

#[test]
fn more_than_a_third_at_once_waits_until_it_is_accepted_and_then_goes_at_every_watcher() {
    let etcd = Etcd::start();
    let urls = [etcd.url()];
    let hosts: Vec<Host> = (1..=6)
        .map(|number| Host::new(&urls, &format!("web-{number}"), number))
        .collect();
    for host in &hosts {
        host.join().unwrap();
    }
    let watches: Vec<Watch> = hosts[..2].iter().map(Host::watch).collect();
    watches
        .iter()
        .for_each(|watch| drop(watch.wait_connected()));
    for host in &hosts[2..] {
        host.leave().unwrap();
    }
    let left = ["web-1", "web-2", "web-5", "web-6"];
    for watch in &watches {
        let news = watch.wait("they wait", |news| {
            matches!(presence(news, "web-6"), Some(Presence::Leaving(_)))
        });
        assert_eq!(names(&news), left, "two of six may go");
    }
    let accepted = hosts[0].accept().unwrap();
    assert_eq!(accepted, ["web-5", "web-6"]);
    for watch in &watches {
        watch.wait_names(&["web-1", "web-2"]);
    }
    assert_eq!(hosts[1].accept().unwrap(), [""; 0]);
}

#[test]
fn a_list_or_identity_that_is_damaged_is_told_with_its_file_and_a_remedy() {
    let etcd = Etcd::start();
    let host = Host::new(&[etcd.url()], "web-1", 1);
    host.join().unwrap();
    for file in [config::LIST_FILE, config::SELF_FILE] {
        let path = host.folder().join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        let why = format!("{:#}", host.join().unwrap_err());
        assert!(why.contains(&path.display().to_string()), "{why}");
        assert!(why.contains("remove it"), "{why}");
        fs::write(&path, good).unwrap();
    }
    host.join().unwrap();
}

#[test]
fn five_hundred_are_read_in_pages_and_cost_little() {
    let etcd = Etcd::start();
    let urls = [etcd.url()];
    let records: Vec<_> = (1..=500).map(|it| record(&format!("n{it}"), it)).collect();
    let alive: Vec<_> = (1..=500)
        .map(|it| {
            (
                format!("{PREFIX}alive/n{it}"),
                format!("{it:032x}").into_bytes(),
            )
        })
        .collect();
    etcd.put_all(&records, None);
    etcd.put_all(&alive, Some(Duration::from_secs(600)));
    let host = Host::new(&urls, "web-1", 1);
    let watch = host.run();
    let news = watch.wait("all are there", |news| news.members.nodes.len() == 501);
    assert_eq!(news.seen.refused, 0);
    let present = |it: &&(config::Joined, Presence)| it.1 == Presence::Present;
    assert_eq!(news.members.nodes.iter().filter(present).count(), 501);
    let before = processor_time();
    std::thread::sleep(Duration::from_secs(5));
    let spent = processor_time() - before;
    println!("processor time in 5 s: {spent:?}; resident: {}", resident());
    // One core's hundredth is 50 ms; this build is not optimized.
    assert!(spent < Duration::from_millis(500), "{spent:?}");
}

/// Of the thread that watches.
fn processor_time() -> Duration {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        if fs::read_to_string(path.join("comm")).unwrap().trim() == "membership" {
            let stat = fs::read_to_string(path.join("schedstat")).unwrap();
            let spent = stat.split_whitespace().next().unwrap();
            return Duration::from_nanos(spent.parse().unwrap());
        }
    }
    panic!("there is no such thread");
}

fn resident() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.unwrap().to_owned()
}
