//! Checks of IPv4 routed by OSPF.

use super::*;
use crate::{facts::Ipv4, finding::Severity};

fn routed(rp_filter: u32, bare: &[&str], forwards: bool) -> Facts {
    let mut facts = healthy("virtio_net");
    facts.ipv4 = Some(Ipv4 {
        tunnels: 2,
        bare: bare.iter().map(|name| (*name).to_owned()).collect(),
        rp_filter: Some(rp_filter),
        forwards: Some(forwards),
        takes_redirects: Some(false),
    });
    facts
}

#[test]
fn filters_that_drop_what_comes_another_way() {
    for mode in [1, 2] {
        let facts = routed(mode, &["client", "server-2"], true);
        let finding = only(&facts);
        assert_eq!(
            (finding.id, finding.severity),
            ("rp-filter", Severity::Warning)
        );
        assert!(
            finding.text.contains("(client, server-2)"),
            "{}",
            finding.text
        );
        assert_eq!(command(&facts), "sysctl -w net.ipv4.conf.all.rp_filter=0");
    }
    assert_eq!(examine(&routed(2, &[], true)), []);
    assert_eq!(examine(&routed(0, &["client"], true)), []);
}

#[test]
fn nobody_goes_through_who_does_not_forward() {
    let mut facts = routed(0, &[], false);
    let finding = only(&facts);
    assert_eq!(
        (finding.id, finding.severity),
        ("ipv4-forwarding-off", Severity::Note)
    );
    assert_eq!(command(&facts), "sysctl -w net.ipv4.ip_forward=1");
    facts.ipv4.as_mut().unwrap().tunnels = 1;
    assert_eq!(examine(&facts), []);
}

#[test]
fn redirects_that_come_out_of_a_tunnel_are_taken() {
    for (forwards, takes, found) in [
        (false, true, true),
        (false, false, false),
        (true, true, false),
    ] {
        let mut facts = routed(0, &[], forwards);
        let ipv4 = facts.ipv4.as_mut().unwrap();
        (ipv4.tunnels, ipv4.takes_redirects) = (1, Some(takes));
        let ids: Vec<_> = examine(&facts).iter().map(|it| it.id).collect();
        let expected = if found {
            vec!["ipv4-redirects"]
        } else {
            vec![]
        };
        assert_eq!(ids, expected);
    }
}
