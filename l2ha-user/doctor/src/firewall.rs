//! A firewall of this host that keeps OSPF's and BFD's packets from the daemon.

use crate::{
    facts::{Chain, Facts},
    finding::{Finding, Severity},
};

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    facts.closed_chains.iter().map(closed).collect()
}

fn closed(chain: &Chain) -> Finding {
    let Chain {
        family,
        table,
        name,
    } = chain;
    let text = format!(
        "the firewall of this host (nftables: table {family} {table}, chain {name}) drops what no rule lets in, and \
         none names the tunnels' interfaces: no neighbour is heard"
    );
    let finding = Finding::new(Severity::Warning, "firewall", text);
    // ufw makes its rules anew at each change.
    let is_ufw = family == "ip6" && table == "filter" && name == "INPUT";
    match is_ufw {
        true => finding.remedy(
            "with ufw `ufw allow in on l2-NAME` for each tunnel; docs/operations.md has others",
        ),
        false => {
            let rule = format!("nft insert rule {family} {table} {name} iifname '\"l2-*\"'");
            finding.command(format!(
                "{rule} meta l4proto '{{ 89, ipv6-icmp }}' accept && {rule} udp dport 3784 accept"
            ))
        }
    }
}
