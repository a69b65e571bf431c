//! Who joins, leaves and is forgotten, as commands write it and others hear it.

use membership::{Cause, Done, Presence};

use crate::harness::{
    etcd::Etcd,
    host::{Host, PREFIX, presence},
};

#[test]
fn joining_writes_record_list_and_identity_and_a_second_time_nothing() {
    let etcd = Etcd::start();
    let host = Host::new(&[etcd.url()], "web-1", 1);
    assert_eq!(host.join().unwrap(), Done::Now);
    let id = host.id();
    let keys = etcd.keys(PREFIX);
    assert_eq!(keys.len(), 1, "{keys:?}");
    let record = &keys[&format!("{PREFIX}members/web-1")];
    assert_eq!(
        *record,
        format!(
            r#"{{"version":1,"id":"{id}","serial":1,"node":{{"name":"web-1","role":"client","addresses":["10.0.0.1"]}}}}"#
        )
    );
    let stored = host.stored();
    assert_eq!(stored.nodes.len(), 1);
    assert_eq!(stored.nodes[0].0, host.node());

    let revision = etcd.revision();
    assert_eq!(host.join().unwrap(), Done::Before);
    assert_eq!(etcd.revision(), revision, "nothing was written");
    assert_eq!(host.id(), id);
}

#[test]
fn a_name_that_is_held_is_refused_until_its_holder_has_left_or_was_forgotten() {
    let etcd = Etcd::start();
    let urls = [etcd.url()];
    let first = Host::new(&urls, "web-1", 1);
    let second = Host::new(&urls, "web-1", 2);
    let third = Host::new(&urls, "web-1", 3);
    first.join().unwrap();
    let refused = format!("{:#}", second.join().unwrap_err());
    assert!(
        refused.contains("another host has the name `web-1`, 10.0.0.1"),
        "{refused}"
    );
    assert!(refused.contains("l2ha forget web-1"), "{refused}");
    assert!(!second.folder().join(config::SELF_FILE).exists());

    assert_eq!(first.leave().unwrap(), Done::Now);
    assert_eq!(first.leave().unwrap(), Done::Before);
    assert!(!first.folder().join(config::SELF_FILE).exists());
    assert_eq!(second.join().unwrap(), Done::Now);

    assert_eq!(third.forget("web-1", false).unwrap(), Done::Now);
    assert_eq!(third.forget("web-1", false).unwrap(), Done::Before);
    assert_eq!(third.join().unwrap(), Done::Now);
    assert_eq!(third.stored().nodes[0].0.addresses, third.node().addresses);
}

#[test]
fn a_node_that_is_present_is_forgotten_only_where_that_is_meant() {
    let etcd = Etcd::start();
    let urls = [etcd.url()];
    let host = Host::new(&urls, "web-1", 1);
    let watch = host.run();
    let other = Host::new(&urls, "web-2", 2);
    let refused = format!("{:#}", other.forget("web-1", false).unwrap_err());
    assert!(refused.contains("`web-1` is present"), "{refused}");
    assert_eq!(other.forget("web-1", true).unwrap(), Done::Now);
    let gone = membership::Registration::Gone(Cause::Forgotten);
    watch.wait("it knows", |news| news.registration == gone);
    let keys = etcd.keys(PREFIX);
    assert!(
        !keys.contains_key(&format!("{PREFIX}alive/web-1")),
        "{keys:?}"
    );
    let refused = format!("{:#}", other.forget("web-9", true).unwrap_err());
    assert!(refused.contains("no node `web-9`"), "{refused}");
}

#[test]
fn a_watcher_sees_who_joins_lapses_returns_and_leaves() {
    let etcd = Etcd::start();
    let urls = [etcd.url()];
    let hosts: Vec<Host> = (1..=4)
        .map(|number| Host::new(&urls, &format!("web-{number}"), number))
        .collect();
    let watch = hosts[0].run();
    watch.wait_names(&["web-1"]);
    hosts[1].join().unwrap();
    watch.wait_names(&["web-1", "web-2"]);
    watch.wait_absent("web-2");
    let second = hosts[1].watch();
    watch.wait_present("web-2");
    let third = hosts[2].run();
    watch.wait_present("web-3");
    let fourth = hosts[3].run();
    watch.wait_names(&["web-1", "web-2", "web-3", "web-4"]);
    watch.wait_present("web-4");

    // Without its power it is absent once its lease is over; when it ends in good order at once.
    second.stop_at_once();
    watch.wait_absent("web-2");
    drop(third);
    let news = watch.wait_absent("web-3");
    assert_eq!(news.members.nodes.len(), 4, "absence takes nobody away");
    let _second = hosts[1].watch();
    watch.wait_present("web-2");

    hosts[2].leave().unwrap();
    let news = watch.wait_names(&["web-1", "web-2", "web-4"]);
    assert_eq!(presence(&news, "web-4"), Some(Presence::Present));
    assert_eq!(news.seen.refused + news.seen.stale, 0, "{:?}", news.seen);
    drop(fourth);
}
