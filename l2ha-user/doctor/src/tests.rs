//! Each check over facts made up for it: found where it should be, and nowhere else.

mod daemons;
mod drivers;
mod forwarding;
mod ipv4;
mod limits;
mod programs;
mod system;

use std::collections::BTreeMap;

use config::AttachMode;
use linux::{ethtool::Channels, features::Feature};

use super::{Facts, Finding, Interface, Peer, System, examine};

/// A host on which nothing is to be found.
fn healthy(driver: &str) -> Facts {
    Facts {
        system: System {
            release: "6.12.1-cloud".to_owned(),
            processors: 2,
            page: 4096,
            has_bpffs: Some(true),
            bpffs: "/sys/fs/bpf".into(),
            jit: Some(1),
            ..System::default()
        },
        mode: AttachMode::Auto,
        name: "eth0".to_owned(),
        interface: Some(Interface {
            index: 2,
            mtu: 1500,
            up: true,
            running: true,
            driver: Some(driver.to_owned()),
            channels: Some(Channels {
                combined: 2,
                max_combined: 4,
                ..Channels::default()
            }),
            features: features(),
            native: Some(true),
            ..Interface::default()
        }),
        ..Facts::default()
    }
}

/// A veth with its other end in a namespace.
fn veth() -> Facts {
    let mut facts = healthy("veth");
    let channels = Channels {
        rx: 1,
        tx: 1,
        max_rx: 2,
        max_tx: 2,
        ..Channels::default()
    };
    let interface = interface(&mut facts);
    interface.channels = Some(channels);
    interface.peer = Some(Peer {
        name: "up0".to_owned(),
        namespace: Some("host".to_owned()),
        mtu: 1500,
        channels: Some(channels),
        features: BTreeMap::new(),
    });
    facts
}

fn interface(facts: &mut Facts) -> &mut Interface {
    facts.interface.as_mut().unwrap()
}

fn peer(facts: &mut Facts) -> &mut Peer {
    interface(facts).peer.as_mut().unwrap()
}

/// Offloads as they should be.
fn features() -> BTreeMap<String, Feature> {
    [
        ("rx-lro", false),
        ("rx-gro-hw", false),
        ("rx-udp-gro-forwarding", false),
        ("rx-gro-list", false),
        ("rx-gro", true),
        ("tx-checksum-ip-generic", true),
        ("tx-scatter-gather", true),
        ("tx-udp_tnl-segmentation", true),
    ]
    .map(|(name, on)| {
        let changeable = true;
        (name.to_owned(), Feature { on, changeable })
    })
    .into()
}

fn ids(facts: &Facts) -> Vec<&'static str> {
    examine(facts).iter().map(|finding| finding.id).collect()
}

/// The only finding.
fn only(facts: &Facts) -> Finding {
    let findings = examine(facts);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    findings.into_iter().next().unwrap()
}

/// The command of the only finding.
fn command(facts: &Facts) -> String {
    let finding = only(facts);
    finding
        .command
        .clone()
        .unwrap_or_else(|| panic!("{finding:#?}"))
}

#[test]
fn on_a_healthy_host_nothing_is_found() {
    for driver in ["virtio_net", "ena", "mlx5_core", "veth"] {
        let mut facts = healthy(driver);
        // As many spare queues as processors.
        interface(&mut facts).channels.as_mut().unwrap().combined = 2;
        assert_eq!(examine(&facts), [], "{driver}");
    }
    assert_eq!(examine(&veth()), []);
}

#[test]
fn what_could_not_be_learned_is_not_held_against_a_host() {
    let facts = Facts {
        name: "eth0".to_owned(),
        interface: Some(Interface {
            up: true,
            running: true,
            mtu: 1500,
            ..Interface::default()
        }),
        ..Facts::default()
    };
    assert_eq!(examine(&facts), []);
}

#[test]
fn the_worst_comes_first() {
    let mut facts = healthy("virtio_net");
    interface(&mut facts).features.get_mut("rx-lro").unwrap().on = true;
    interface(&mut facts).up = false;
    assert_eq!(ids(&facts), ["interface-down", "lro"]);
}
