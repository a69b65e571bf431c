//! What is wrong with a node, in order of importance.

use control::Status;
use serde_json::Value;

/// One sentence for each thing that is wrong; none when the node is healthy.
pub(super) fn problems(status: &Status) -> Vec<String> {
    let underlay = &status.underlay;
    let mut problems = Vec::new();
    match (&underlay.problem, &underlay.ifindex, &underlay.hook) {
        (Some(problem), ..) => problems.push(format!("underlay: {problem}")),
        (None, None, _) => {
            problems.push(format!(
                "underlay: interface {} is not there",
                underlay.interface
            ));
        }
        (None, Some(_), None) => problems.push(format!(
            "underlay: no decapsulation program on {}",
            underlay.interface
        )),
        (None, Some(_), Some(_)) => {}
    }
    for tunnel in &status.tunnels {
        match (&tunnel.problem, tunnel.up) {
            (Some(problem), _) => problems.push(format!("tunnel {}: {problem}", tunnel.name)),
            (None, false) => problems.push(format!("tunnel {}: is not in place", tunnel.name)),
            (None, true) => {}
        }
    }
    for service in &status.services {
        if !service.advertised {
            problems.push(format!(
                "service {}: {} is not advertised",
                service.name, service.address
            ));
        }
    }
    problems.extend(status.ospf.iter().flat_map(ospf));
    problems
}

/// A tunnel has one peer, so every interface should have its neighbour, in each family.
fn ospf(summary: &Value) -> Vec<String> {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64);
    let Some(interfaces) = number(summary, "interfaces") else {
        return Vec::new();
    };
    let of = |value: Option<&Value>, which: &str| {
        let full = number(value?, "neighbors_full")?;
        (full < interfaces).then(|| {
            format!(
                "ospf: {full} of {interfaces} neighbours are full{which}; see `l2ha ospf neighbors`"
            )
        })
    };
    let six = of(Some(summary), "");
    let four = of(summary.get("ipv4"), " for IPv4");
    six.into_iter().chain(four).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_family_wants_its_neighbours() {
        let summary =
            |six: u64, four: Value| json!({ "interfaces": 2, "neighbors_full": six, "ipv4": four });
        let full = json!({ "neighbors_full": 2 });
        assert_eq!(ospf(&summary(2, full.clone())), [""; 0]);
        assert_eq!(ospf(&summary(2, Value::Null)), [""; 0], "not routed");
        let found = ospf(&summary(1, full));
        assert!(found.len() == 1 && found[0].contains("1 of 2 neighbours are full;"));
        let found = ospf(&summary(2, json!({ "neighbors_full": 0 })));
        assert!(found.len() == 1 && found[0].contains("0 of 2 neighbours are full for IPv4;"));
    }
}
