//! The underlay's interface: there, up, and with its addresses.

use std::net::IpAddr;

use crate::{
    facts::Facts,
    finding::{Finding, Severity},
};

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let name = &facts.name;
    let Some(interface) = &facts.interface else {
        return vec![
            Finding::new(
                Severity::Error,
                "interface-missing",
                format!("there is no interface {name} in this network namespace"),
            )
            .remedy("name one that `ip -br link` shows as `interface` of [underlay]"),
        ];
    };
    let mut findings = Vec::new();
    if !interface.up {
        findings.push(
            Finding::new(
                Severity::Error,
                "interface-down",
                format!("{name} is down: it carries no packets"),
            )
            .command(format!("ip link set dev {name} up")),
        );
    } else if !interface.running {
        let finding = Finding::new(
            Severity::Error,
            "no-carrier",
            format!("{name} has no carrier: its other end is down, or no cable is plugged in"),
        );
        findings.push(match &interface.peer {
            Some(peer) => {
                finding.command(peer.command(&format!("ip link set dev {} up", peer.name)))
            }
            None => finding.remedy("set the other end up"),
        });
    }
    for address in &facts.missing_addresses {
        let whole = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        findings.push(
            Finding::new(
                Severity::Error,
                "address-missing",
                format!("{name} lacks the underlay's address {address}, which peers send to"),
            )
            .command(format!("ip address add {address}/{whole} dev {name}")),
        );
    }
    findings
}
