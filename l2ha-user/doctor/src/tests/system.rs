//! The host, the interface as such, and the tunnels' MTU.

use super::{command, healthy, ids, interface, only, peer, veth};
use crate::{facts::Needed, facts::Tunnel, finding::Severity};

#[test]
fn an_old_kernel_is_a_warning_and_the_oldest_tried_is_not() {
    let mut facts = healthy("ena");
    facts.system.release = "6.1.0-28-amd64".to_owned();
    assert_eq!(ids(&facts), [""; 0]);
    facts.system.release = "5.15.0".to_owned();
    let finding = only(&facts);
    assert_eq!(
        (finding.id, finding.severity),
        ("kernel-old", Severity::Warning)
    );
    assert!(finding.remedy.is_some());
}

#[test]
fn a_kernel_that_takes_no_program_is_an_error() {
    let mut facts = healthy("ena");
    facts.system.cannot_load = Some("Operation not permitted".to_owned());
    let finding = only(&facts);
    assert_eq!(
        (finding.id, finding.severity),
        ("bpf-refused", Severity::Error)
    );
}

#[test]
fn the_standard_bpffs_is_mounted_by_the_daemon_another_one_is_not() {
    let mut facts = healthy("ena");
    facts.system.has_bpffs = Some(false);
    assert_eq!(only(&facts).severity, Severity::Note);
    assert_eq!(command(&facts), "mount -t bpf bpf /sys/fs/bpf");
    facts.system.bpffs = "/srv/bpf".into();
    assert_eq!(only(&facts).severity, Severity::Error);
    assert_eq!(command(&facts), "mount -t bpf bpf /srv/bpf");
}

#[test]
fn an_interpreter_is_slow() {
    let mut facts = healthy("ena");
    facts.system.jit = Some(0);
    assert_eq!(command(&facts), "sysctl -w net.core.bpf_jit_enable=1");
}

#[test]
fn missing_modules_are_named() {
    for (needed, expected) in [
        (Needed::Veth, "modprobe veth"),
        (Needed::Clsact, "modprobe sch_ingress"),
    ] {
        let mut facts = healthy("ena");
        facts.system.lacks = vec![(needed, "not supported".to_owned())];
        assert_eq!(command(&facts), expected);
        assert_eq!(only(&facts).severity, Severity::Error);
    }
}

#[test]
fn an_interface_must_be_there_up_and_running() {
    let mut facts = healthy("ena");
    facts.interface = None;
    assert_eq!(only(&facts).id, "interface-missing");
    let mut facts = healthy("ena");
    interface(&mut facts).up = false;
    interface(&mut facts).running = false;
    assert_eq!(command(&facts), "ip link set dev eth0 up");
    interface(&mut facts).up = true;
    assert_eq!(only(&facts).id, "no-carrier");
    let mut facts = veth();
    interface(&mut facts).running = false;
    assert_eq!(
        command(&facts),
        "nsenter --net=/run/netns/host ip link set dev up0 up"
    );
    peer(&mut facts).namespace = None;
    assert_eq!(command(&facts), "ip link set dev up0 up");
}

#[test]
fn addresses_are_added_whole() {
    let mut facts = healthy("ena");
    facts.missing_addresses = vec!["10.0.0.1".parse().unwrap()];
    assert_eq!(command(&facts), "ip address add 10.0.0.1/32 dev eth0");
    facts.missing_addresses = vec!["fd00::1".parse().unwrap()];
    assert_eq!(command(&facts), "ip address add fd00::1/128 dev eth0");
}

#[test]
fn a_tunnels_mtu_must_fit_and_carry_ipv6() {
    let tunnel = |mtu| {
        vec![Tunnel {
            name: "client".to_owned(),
            mtu,
            overhead: 58,
        }]
    };
    let mut facts = healthy("ena");
    for fits in [None, Some(1442), Some(1280)] {
        facts.tunnels = tunnel(fits);
        assert_eq!(ids(&facts), [""; 0]);
    }
    facts.tunnels = tunnel(Some(1443));
    assert_eq!(command(&facts), "ip link set dev eth0 mtu 1501");
    assert!(only(&facts).remedy.unwrap().contains("mtu = 1442"));
    facts.tunnels = tunnel(Some(1000));
    assert!(only(&facts).remedy.unwrap().contains("mtu = 1280"));
    facts.tunnels = tunnel(None);
    interface(&mut facts).mtu = 1300;
    assert_eq!(command(&facts), "ip link set dev eth0 mtu 1338");
    assert_eq!(only(&facts).severity, Severity::Error);
}
