//! What is wrong with a node, in order of importance.

use control::{OspfInstance, OspfStatus, ServiceHealth, Status};

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
        let why = service.health.as_ref().and_then(ServiceHealth::why);
        match (service.advertised, why) {
            (false, None) => problems.push(format!(
                "service {}: {} is not advertised",
                service.name, service.address
            )),
            (false, Some(why)) => problems.push(format!(
                "service {}: {} is not advertised, {why}",
                service.name, service.address
            )),
            (true, Some(why)) if service.last_resort => {
                problems.push(format!("service {}: last resort, {why}", service.name));
            }
            (true, _) => {}
        }
    }
    problems.extend(status.ospf.iter().flat_map(ospf));
    problems
}

/// A tunnel has one peer, so every interface should have its neighbour, in each family.
fn ospf(status: &OspfStatus) -> Vec<String> {
    let interfaces = status.interfaces;
    let of = |instance: &OspfInstance, which: &str| {
        let full = instance.neighbors_full;
        (full < interfaces).then(|| {
            format!(
                "ospf: {full} of {interfaces} neighbours are full{which}; see `l2ha ospf neighbors`"
            )
        })
    };
    let six = of(&status.ipv6, "");
    let four = status.ipv4.as_ref().and_then(|it| of(it, " for IPv4"));
    six.into_iter().chain(four).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use control::{HealthState, ServiceStatus};

    use super::*;
    use crate::cli::status::show::tests::{healthy, status_of_ospf};

    #[test]
    fn a_service_that_fails_is_named_with_its_check() {
        let mut status = healthy();
        let mut service = ServiceStatus {
            name: "web".to_owned(),
            address: IpAddr::from([192, 0, 2, 80]),
            advertised: true,
            last_resort: true,
            drained: false,
            health: Some(ServiceHealth {
                state: HealthState::Failed,
                since_ms: 12_345,
                reason: Some("GET http://192.0.2.80/ connection refused".to_owned()),
                check: Some(2),
                checks: 2,
            }),
        };
        let mut found = |service: &ServiceStatus| {
            status.services = vec![service.clone()];
            problems(&status).pop()
        };
        assert_eq!(
            found(&service).as_deref(),
            Some(
                "service web: last resort, GET http://192.0.2.80/ connection refused, since 12 s, \
                 by check 2 of 2"
            )
        );
        assert_eq!(
            service.state(),
            "last resort, GET http://192.0.2.80/ connection refused, since 12 s, by check 2 of 2"
        );
        service.advertised = false;
        assert!(found(&service).is_some_and(|it| {
            it.contains("192.0.2.80 is not advertised, GET http://192.0.2.80/ connection")
        }));
        // Drained is what somebody wanted.
        service.advertised = true;
        service.drained = true;
        service.health = None;
        assert_eq!(found(&service), None);
        assert_eq!(service.state(), "last resort, drained");
    }

    #[test]
    fn each_family_wants_its_neighbours() {
        let status = |six, four| status_of_ospf(2, six, four);
        assert_eq!(ospf(&status(2, Some(2))), [""; 0]);
        assert_eq!(ospf(&status(2, None)), [""; 0], "not routed");
        let found = ospf(&status(1, Some(2)));
        assert!(found.len() == 1 && found[0].contains("1 of 2 neighbours are full;"));
        let found = ospf(&status(2, Some(0)));
        assert!(found.len() == 1 && found[0].contains("0 of 2 neighbours are full for IPv4;"));
    }
}
