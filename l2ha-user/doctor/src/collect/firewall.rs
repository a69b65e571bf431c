//! The firewall of this host, as far as `nft` shows it.

use std::{collections::BTreeSet, io, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::facts::Chain;

/// The chains that keep OSPF's packets out; none without `nft`.
pub(super) fn closed_chains() -> Result<Vec<Chain>> {
    let output = match Command::new("nft").args(["-j", "list", "ruleset"]).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        output => output.context("cannot run nft")?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft: {}", said.trim());
    let ruleset: Value = serde_json::from_slice(&output.stdout).context("nft -j")?;
    Ok(closed(&ruleset))
}

/// The chains at the input hook for IPv6 that end with a drop and do not let OSPF in, in a ruleset as nft(8) writes
/// it with `-j`.
fn closed(ruleset: &Value) -> Vec<Chain> {
    let objects = || ruleset["nftables"].as_array().into_iter().flatten();
    let chains = objects().map(|it| &it["chain"]);
    let inputs = chains.filter(|it| {
        let is_ipv6 = it["family"] == "inet" || it["family"] == "ip6";
        is_ipv6 && it["hook"] == "input"
    });
    let rules: Vec<&Value> = objects().map(|it| &it["rule"]).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let closed = inputs.filter(|chain| {
        let of = |rule: &&&Value, name: &str| {
            rule["family"] == chain["family"]
                && rule["table"] == chain["table"]
                && rule["chain"] == *name
        };
        let last = rules.iter().rfind(|rule| of(rule, &text(&chain["name"])));
        let drops = chain["policy"] == "drop" || last.is_some_and(|rule| drops_all(rule));
        let reached = reached(&text(&chain["name"]), |name| {
            let rules = rules.iter().filter(|rule| of(rule, name));
            rules.copied().collect()
        });
        drops && !reached.iter().any(|rule| lets_ospf_in(rule))
    });
    closed
        .map(|chain| Chain {
            family: text(&chain["family"]),
            table: text(&chain["table"]),
            name: text(&chain["name"]),
        })
        .collect()
}

/// The rules of a chain and of those that it leads to.
fn reached<'a>(chain: &str, rules_of: impl Fn(&str) -> Vec<&'a Value>) -> Vec<&'a Value> {
    let mut rules = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = vec![chain.to_owned()];
    while let Some(chain) = next.pop() {
        if !seen.insert(chain.clone()) {
            continue;
        }
        for rule in rules_of(&chain) {
            let statements = rule["expr"].as_array().into_iter().flatten();
            let targets = statements.flat_map(|it| [&it["jump"]["target"], &it["goto"]["target"]]);
            next.extend(targets.filter_map(Value::as_str).map(str::to_owned));
            rules.push(rule);
        }
    }
    rules
}

/// Whether a rule drops whatever comes to it.
fn drops_all(rule: &Value) -> bool {
    let statements = || rule["expr"].as_array().into_iter().flatten();
    let has = |name: &str| statements().any(|it| it.get(name).is_some());
    (has("drop") || has("reject")) && !has("match")
}

/// Whether a rule may let OSPF's packets in from tunnels: it accepts, and what it matches is either their protocol or
/// their interface, or nothing at all.
fn lets_ospf_in(rule: &Value) -> bool {
    let statements = || rule["expr"].as_array().into_iter().flatten();
    if !statements().any(|it| it.get("accept").is_some()) {
        return false;
    }
    let mut matches = statements().filter_map(|it| it.get("match"));
    let names_it = |it: &Value| {
        let right = it["right"].to_string();
        let ospf = right.split(|c: char| !c.is_ascii_alphanumeric());
        right.contains("l2-")
            || ospf
                .into_iter()
                .any(|word| word == "89" || word.starts_with("ospf"))
    };
    matches.clone().any(names_it) || matches.next().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ruleset(policy: &str, rules: &[(&str, Value)]) -> Value {
        let rules = rules.iter().map(|(chain, expr)| {
            json!({"rule": {"family": "inet", "table": "filter", "chain": chain, "expr": expr}})
        });
        let chains = [
            json!({"metainfo": {"version": "1.0.6"}}),
            json!({"table": {"family": "inet", "name": "filter"}}),
            json!({"chain": {"family": "inet", "table": "filter", "name": "input", "hook": "input", "policy": policy}}),
            json!({"chain": {"family": "inet", "table": "filter", "name": "ours"}}),
            json!({"chain": {"family": "ip", "table": "filter", "name": "old", "hook": "input", "policy": "drop"}}),
            json!({"chain": {"family": "inet", "table": "filter", "name": "out", "hook": "output", "policy": "drop"}}),
        ];
        json!({"nftables": chains.into_iter().chain(rules).collect::<Vec<_>>()})
    }

    fn equals(left: Value, right: Value) -> Value {
        json!({"match": {"op": "==", "left": left, "right": right}})
    }

    #[test]
    fn a_chain_that_drops_by_default_and_knows_nothing_of_tunnels_is_closed() {
        let input = Chain {
            family: "inet".to_owned(),
            table: "filter".to_owned(),
            name: "input".to_owned(),
        };
        let port = equals(
            json!({"payload": {"protocol": "tcp", "field": "dport"}}),
            json!(22),
        );
        let ssh = ("input", json!([port, {"accept": null}]));
        let ssh = vec![ssh];
        assert_eq!(closed(&ruleset("drop", &ssh)), vec![input.clone()]);
        assert_eq!(closed(&ruleset("accept", &ssh)), []);
        let counter = json!({"counter": {"packets": 0, "bytes": 0}});
        let reject = ("input", json!([counter, {"reject": null}]));
        let ends = [ssh, vec![reject]].concat();
        assert_eq!(closed(&ruleset("accept", &ends)), vec![input]);
        assert_eq!(closed(&json!({"nftables": []})), []);
    }

    #[test]
    fn a_rule_for_the_interfaces_or_the_protocol_opens_it() {
        let name = json!({"meta": {"key": "iifname"}});
        let protocol = json!({"meta": {"key": "l4proto"}});
        let set = json!({"set": [89, "ipv6-icmp"]});
        for expr in [
            json!([equals(name.clone(), json!("l2-*")), {"accept": null}]),
            json!([equals(protocol.clone(), set), {"accept": null}]),
            json!([equals(protocol, json!("ospfigp")), {"accept": null}]),
            json!([{"accept": null}]),
        ] {
            assert_eq!(
                closed(&ruleset("drop", &[("input", expr.clone())])),
                [],
                "{expr}"
            );
            let jump = ("input", json!([{"jump": {"target": "ours"}}]));
            let there = ("ours", expr.clone());
            assert_eq!(
                closed(&ruleset("drop", &[jump, there.clone()])),
                [],
                "{expr}"
            );
            // Nothing leads there.
            assert_eq!(closed(&ruleset("drop", &[there])).len(), 1, "{expr}");
        }
        let drops = (
            "input",
            json!([equals(name, json!("l2-*")), {"drop": null}]),
        );
        assert_eq!(closed(&ruleset("drop", &[drops])).len(), 1);
    }
}
