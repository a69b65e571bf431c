//! MTU, queues and offloads.

use config::AttachMode;
use dataplane::inspect::{Held, Place, Program, Trial, XdpMode};
use linux::ethtool::Channels;

use super::{command, healthy, ids, interface, only, peer, veth};
use crate::{facts::Facts, finding::Severity};

#[test]
fn each_driver_has_its_own_largest_mtu() {
    for (driver, most) in [
        ("virtio_net", 3506),
        ("hv_netvsc", 3506),
        ("mana", 3506),
        ("ena", 3498),
        ("gve", 2032),
    ] {
        let mut facts = healthy(driver);
        let channels = Channels {
            rx: 1,
            tx: 1,
            max_rx: 2,
            max_tx: 2,
            ..Channels::default()
        };
        if driver == "gve" {
            interface(&mut facts).channels = Some(channels);
        }
        interface(&mut facts).mtu = most;
        assert_eq!(ids(&facts), [""; 0], "{driver}");
        interface(&mut facts).mtu = most + 1;
        assert_eq!(
            command(&facts),
            format!("ip link set dev eth0 mtu {most}"),
            "{driver}"
        );
        assert_eq!(only(&facts).severity, Severity::Warning);
        facts.mode = AttachMode::Xdp;
        assert_eq!(only(&facts).severity, Severity::Error);
        facts.mode = AttachMode::Tc;
        assert_eq!(ids(&facts), [""; 0], "{driver}: tc has no such limit");
    }
}

#[test]
fn of_a_veth_the_other_ends_mtu_counts_and_both_are_set() {
    let mut facts = veth();
    interface(&mut facts).mtu = 9000;
    assert_eq!(ids(&facts), [""; 0]);
    peer(&mut facts).mtu = 9000;
    assert_eq!(
        command(&facts),
        "ip link set dev eth0 mtu 3506 && \
         nsenter --net=/run/netns/host ip link set dev up0 mtu 3506"
    );
    interface(&mut facts).mtu = 1500;
    peer(&mut facts).namespace = None;
    assert_eq!(command(&facts), "ip link set dev up0 mtu 3506");
    interface(&mut facts).mtu = 9000;
    interface(&mut facts).peer = None;
    assert!(only(&facts).remedy.unwrap().contains("both ends"));
}

#[test]
fn a_veth_needs_as_many_queues_as_its_other_end_sends_on() {
    let mut facts = veth();
    peer(&mut facts).channels.as_mut().unwrap().tx = 2;
    assert_eq!(command(&facts), "ethtool -L eth0 rx 2");
    interface(&mut facts).channels.as_mut().unwrap().max_rx = 1;
    assert_eq!(
        command(&facts),
        "nsenter --net=/run/netns/host ethtool -L up0 tx 1"
    );
}

#[test]
fn ena_and_gve_want_half_of_their_queues() {
    let mut facts = healthy("ena");
    interface(&mut facts).channels.as_mut().unwrap().combined = 4;
    assert_eq!(command(&facts), "ethtool -L eth0 combined 2");
    let mut facts = healthy("gve");
    interface(&mut facts).channels = Some(Channels {
        rx: 4,
        tx: 2,
        max_rx: 6,
        max_tx: 6,
        ..Channels::default()
    });
    assert_eq!(command(&facts), "ethtool -L eth0 rx 2 tx 2");
}

#[test]
fn queues_that_lie_idle_are_named_but_not_those_that_xdp_needs() {
    let mut facts = healthy("mlx5_core");
    facts.system.processors = 8;
    assert_eq!(command(&facts), "ethtool -L eth0 combined 4");
    let mut facts = healthy("ena");
    facts.system.processors = 8;
    assert_eq!(ids(&facts), [""; 0]);
    facts.mode = AttachMode::Tc;
    assert_eq!(command(&facts), "ethtool -L eth0 combined 4");
}

#[test]
fn on_virtio_missing_spare_queues_are_a_note() {
    let mut facts = healthy("virtio_net");
    interface(&mut facts)
        .channels
        .as_mut()
        .unwrap()
        .max_combined = 2;
    let finding = only(&facts);
    assert_eq!(
        (finding.id, finding.severity),
        ("xdp-spare-queues", Severity::Note)
    );
}

/// Switches one offload and returns the facts.
fn with(driver: &str, feature: &str, on: bool) -> Facts {
    let mut facts = healthy(driver);
    let state = interface(&mut facts).features.get_mut(feature).unwrap();
    assert_ne!(state.on, on);
    state.on = on;
    facts
}

#[test]
fn offloads_are_found_by_name_and_switched_by_name() {
    for (feature, on, expected) in [
        ("rx-lro", true, "ethtool -K eth0 lro off"),
        ("rx-gro-hw", true, "ethtool -K eth0 rx-gro-hw off"),
        (
            "rx-udp-gro-forwarding",
            true,
            "ethtool -K eth0 rx-udp-gro-forwarding off",
        ),
        ("rx-gro-list", true, "ethtool -K eth0 rx-gro-list off"),
        ("rx-gro", false, "ethtool -K eth0 gro on"),
        ("tx-checksum-ip-generic", false, "ethtool -K eth0 tx on"),
        ("tx-scatter-gather", false, "ethtool -K eth0 sg on"),
        (
            "tx-udp_tnl-segmentation",
            false,
            "ethtool -K eth0 tx-udp_tnl-segmentation on",
        ),
    ] {
        assert_eq!(command(&with("virtio_net", feature, on)), expected);
    }
}

/// Native XDP sees outer packets before GRO does.
#[test]
fn joined_udp_packets_matter_to_tc_only() {
    for feature in ["rx-udp-gro-forwarding", "rx-gro-list"] {
        let mut facts = with("virtio_net", feature, true);
        for (mode, found) in [
            (AttachMode::Tc, 1),
            (AttachMode::Auto, 1),
            (AttachMode::Xdp, 0),
        ] {
            facts.mode = mode;
            assert_eq!(ids(&facts).len(), found, "{feature} {mode:?}");
        }
    }
}

#[test]
fn what_cannot_be_switched_has_another_cure_or_is_left_out() {
    for feature in ["rx-lro", "rx-gro-hw"] {
        let mut facts = with("virtio_net", feature, true);
        let state = interface(&mut facts).features.get_mut(feature).unwrap();
        state.changeable = false;
        let finding = only(&facts);
        assert_eq!(finding.command, None);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.remedy.unwrap().contains("hypervisor"));
    }
    let mut facts = with("virtio_net", "tx-scatter-gather", false);
    let features = &mut interface(&mut facts).features;
    features.get_mut("tx-scatter-gather").unwrap().changeable = false;
    assert_eq!(ids(&facts), [""; 0]);
}

#[test]
fn a_veths_other_end_must_fill_in_checksums() {
    let mut facts = veth();
    let features = super::features();
    peer(&mut facts).features = features;
    assert_eq!(
        command(&facts),
        "nsenter --net=/run/netns/host ethtool -K up0 tx off"
    );
    facts.mode = AttachMode::Tc;
    assert_eq!(ids(&facts), [""; 0]);
}

#[test]
fn a_driver_without_native_xdp_is_a_note_unless_it_must_have_it() {
    let mut facts = healthy("bonding");
    interface(&mut facts).native = Some(false);
    assert_eq!(only(&facts).severity, Severity::Note);
    facts.mode = AttachMode::Xdp;
    let finding = only(&facts);
    assert_eq!(
        (finding.id, finding.severity),
        ("xdp-missing", Severity::Error)
    );
}

#[test]
fn the_drivers_own_words_are_passed_on() {
    let mut facts = healthy("virtio_net");
    interface(&mut facts).trial = Some(Trial::Refused("no room".to_owned()));
    let finding = only(&facts);
    assert_eq!(finding.id, "xdp-refused");
    assert!(finding.text.contains("no room"), "{}", finding.text);
    interface(&mut facts).mtu = 9000;
    let finding = only(&facts);
    assert_eq!(finding.id, "xdp-mtu");
    assert!(finding.text.contains("no room"), "{}", finding.text);
    interface(&mut facts).mtu = 1500;
    interface(&mut facts).trial = Some(Trial::Taken);
    interface(&mut facts).native = Some(false);
    assert_eq!(ids(&facts), [""; 0]);
}

/// What is attached has passed every test already.
#[test]
fn obstacles_to_native_xdp_are_none_behind_it() {
    let mut facts = healthy("virtio_net");
    let interface = interface(&mut facts);
    interface.mtu = 9000;
    interface.native = Some(false);
    interface.features.get_mut("rx-gro-hw").unwrap().on = true;
    interface.programs.list.push(Program {
        place: Place::Xdp(XdpMode::Native),
        id: 7,
        name: "l2ha_xdp".to_owned(),
        tag: String::new(),
        held: Held::Link(3),
        ours: true,
    });
    assert_eq!(ids(&facts), [""; 0]);
}
