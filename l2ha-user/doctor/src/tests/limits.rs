//! Checks of limits and of the firewall.

use super::*;
use crate::{facts::Chain, finding::Severity};

#[test]
fn too_few_files_are_said_with_the_limit_that_is_needed() {
    let mut facts = healthy("virtio_net");
    facts.open_files = 1128;
    facts.most_open_files = Some(1128);
    assert_eq!(examine(&facts), []);
    facts.most_open_files = Some(1024);
    let finding = only(&facts);
    assert_eq!(
        (finding.id, finding.severity),
        ("open-files", Severity::Warning)
    );
    assert!(finding.text.contains("1128") && finding.text.contains("1024"));
    assert!(finding.remedy.unwrap().contains("LimitNOFILE=1128"));
}

#[test]
fn a_firewall_that_drops_by_default_is_named_with_the_rule() {
    let mut facts = healthy("virtio_net");
    let chain = |family: &str, name: &str| Chain {
        family: family.to_owned(),
        table: "filter".to_owned(),
        name: name.to_owned(),
    };
    facts.closed_chains = vec![chain("inet", "input")];
    let finding = only(&facts);
    assert_eq!(
        (finding.id, finding.severity),
        ("firewall", Severity::Warning)
    );
    assert!(finding.text.contains("table inet filter, chain input"));
    let command = finding.command.unwrap();
    assert!(
        command.starts_with("nft insert rule inet filter input iifname '\"l2-*\"'"),
        "{command}"
    );
    facts.closed_chains = vec![chain("ip6", "INPUT")];
    assert!(only(&facts).remedy.unwrap().contains("ufw allow in on"));
}
