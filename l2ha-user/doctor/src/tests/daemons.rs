//! Checks of what other daemons route.

use super::*;
use crate::{
    facts::{DaemonRoutes, Routing},
    finding::Severity,
};

fn others(running: &[&str], routes: &[(&'static str, u32, usize)]) -> Facts {
    let mut facts = healthy("virtio_net");
    facts.routing = Some(Routing {
        table: 254,
        metric: 20,
        interfaces: vec!["l2-a".to_owned()],
        running: running.iter().map(|name| (*name).to_owned()).collect(),
        routes: routes
            .iter()
            .map(|(protocol, metric, count)| DaemonRoutes {
                protocol,
                metric: *metric,
                count: *count,
            })
            .collect(),
    });
    facts
}

#[test]
fn another_routing_daemon_on_this_host_is_named() {
    assert_eq!(examine(&others(&[], &[])), []);
    let runs = others(&["ospf6d", "zebra"], &[]);
    let finding = only(&runs);
    assert_eq!(
        (finding.id, finding.severity),
        ("routing-daemon", Severity::Note)
    );
    assert!(finding.text.contains("(ospf6d, zebra)"), "{}", finding.text);

    for metric in [20, 32] {
        let facts = others(&["bird"], &[("bird", metric, 7), ("ospf", metric, 2)]);
        let finding = only(&facts);
        let severity = match metric {
            20 => Severity::Warning,
            _ => Severity::Note,
        };
        assert_eq!((finding.id, finding.severity), ("routing-daemon", severity));
        let all = [
            "(bird)",
            "table 254",
            "7 of `proto bird`",
            "2 of `proto ospf`",
        ];
        for part in all {
            assert!(finding.text.contains(part), "{}", finding.text);
        }
        assert!(finding.remedy.is_some());
    }
    // Nobody known runs, and there are routes all the same.
    let left = others(&[], &[("ospf", 20, 1)]);
    assert!(only(&left).text.starts_with("another routing daemon has"));
}
