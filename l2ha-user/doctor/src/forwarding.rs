//! Whether a node that carries other networks' packets forwards them.

use crate::{
    facts::Facts,
    finding::{Finding, Severity},
};

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let silent = facts.carried.iter().filter(|it| it.forwards == Some(false));
    let found = silent.map(|carried| {
        let (family, sysctl) = match carried.ipv4 {
            true => ("IPv4", "net.ipv4.ip_forward"),
            false => ("IPv6", "net.ipv6.conf.all.forwarding"),
        };
        Finding::new(
            Severity::Warning,
            "gateway-not-forwarding",
            format!(
                "this node tells others that {} can be reached through it, and its kernel does not forward {family}",
                carried.prefixes.join(", ")
            ),
        )
        .command(format!("sysctl -w {sysctl}=1"))
    });
    found.collect()
}
