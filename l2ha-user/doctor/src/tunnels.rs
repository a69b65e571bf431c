//! What the underlay's MTU leaves to the tunnels.

use crate::{
    facts::Facts,
    finding::{Finding, Severity},
};

/// The least MTU of an IPv6 link (RFC 8200 section 5); OSPFv3 runs over IPv6.
const LEAST: u32 = 1280;

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(interface) = &facts.interface else {
        return Vec::new();
    };
    let name = &facts.name;
    let mut findings = Vec::new();
    for tunnel in &facts.tunnels {
        let left = interface.mtu.saturating_sub(tunnel.overhead);
        let mtu = tunnel.mtu.unwrap_or(left);
        if mtu > left {
            let needed = mtu + tunnel.overhead;
            findings.push(
                Finding::new(
                    Severity::Warning,
                    "tunnel-mtu",
                    format!(
                        "tunnel {} has an MTU of {mtu}, but {name}'s MTU of {} leaves {left} after \
                         {} bytes of headers: larger packets are lost",
                        tunnel.name, interface.mtu, tunnel.overhead
                    ),
                )
                .command(format!("ip link set dev {name} mtu {needed}"))
                .remedy(format!(
                    "or write mtu = {left} in this tunnel, at both ends"
                )),
            );
        } else if mtu < LEAST {
            let needed = LEAST + tunnel.overhead;
            let finding = Finding::new(
                Severity::Error,
                "mtu-small",
                format!(
                    "tunnel {} has an MTU of {mtu}: IPv6, and so OSPFv3, needs {LEAST}",
                    tunnel.name
                ),
            );
            findings.push(if tunnel.mtu.is_some() {
                finding.remedy(format!("write mtu = {LEAST} or more in this tunnel"))
            } else {
                finding.command(format!("ip link set dev {name} mtu {needed}"))
            });
        }
    }
    findings
}
