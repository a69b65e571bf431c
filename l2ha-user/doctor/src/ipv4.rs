//! What the kernel does with IPv4 packets where OSPF routes IPv4.

use crate::{
    facts::Facts,
    finding::{Finding, Severity},
};

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(ipv4) = &facts.ipv4 else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    // The interface's own value, which the daemon sets, counts only where it is the greater.
    if let Some(mode) = ipv4.rp_filter.filter(|mode| *mode > 0)
        && !ipv4.bare.is_empty()
    {
        findings.push(
            Finding::new(
                Severity::Warning,
                "rp-filter",
                format!(
                    "net.ipv4.conf.all.rp_filter is {mode}: of tunnels without an IPv4 address ({}) \
                     the kernel drops IPv4 packets that would not be answered over the same tunnel, \
                     as after a failover",
                    ipv4.bare.join(", ")
                ),
            )
            .command("sysctl -w net.ipv4.conf.all.rp_filter=0")
            .remedy("or give these tunnels an IPv4 address in `addresses`"),
        );
    }
    if ipv4.forwards == Some(false) && ipv4.tunnels > 1 {
        findings.push(
            Finding::new(
                Severity::Note,
                "ipv4-forwarding-off",
                format!(
                    "this node has {} tunnels with OSPF and does not forward IPv4: no other node \
                     sends IPv4 packets through it, which is right for a server or a client",
                    ipv4.tunnels
                ),
            )
            .command("sysctl -w net.ipv4.ip_forward=1"),
        );
    }
    // The interface's own value, which the daemon sets to 0, counts then only where the kernel forwards.
    if ipv4.takes_redirects == Some(true) && ipv4.forwards == Some(false) {
        findings.push(
            Finding::new(
                Severity::Note,
                "ipv4-redirects",
                "net.ipv4.conf.all.accept_redirects is 1: this host takes ICMP redirects, also those that \
                 come out of a tunnel, from a neighbour that it sends IPv4 packets to",
            )
            .command("sysctl -w net.ipv4.conf.all.accept_redirects=0"),
        );
    }
    findings
}
