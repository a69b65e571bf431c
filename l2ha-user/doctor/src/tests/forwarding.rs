//! Gateways that forward nothing.

use super::*;
use crate::{facts::Carried, finding::Severity};

#[test]
fn a_gateway_that_forwards_nothing() {
    for (ipv4, prefix, fix) in [
        (true, "10.1.0.0/16", "sysctl -w net.ipv4.ip_forward=1"),
        (
            false,
            "2001:db8:5::/48",
            "sysctl -w net.ipv6.conf.all.forwarding=1",
        ),
    ] {
        for (forwards, found) in [(Some(false), true), (Some(true), false), (None, false)] {
            let mut facts = healthy("virtio_net");
            facts.carried.push(Carried {
                ipv4,
                prefixes: vec![prefix.to_owned()],
                forwards,
            });
            if !found {
                assert_eq!(examine(&facts), []);
                continue;
            }
            let finding = only(&facts);
            assert_eq!(
                (finding.id, finding.severity),
                ("gateway-not-forwarding", Severity::Warning)
            );
            assert!(finding.text.contains(prefix), "{}", finding.text);
            assert_eq!(command(&facts), fix);
        }
    }
}
