//! Packets of the tunnels take the underlay's own routes, whatever OSPF or others put before these.

use anyhow::{Result, ensure};
use l2ha_lab::{Lab, Link, PATIENCE, Pair, UNDERLAY, wait_for};

/// Another address of the gateway on the host's link.
const SECOND_V4: &str = "10.77.255.253";
const SECOND_V6: &str = "fe80::78";
/// Pings of one trial; all have to be answered.
const PINGS: &str = "60";

fn pair(lab: &Lab, v6: bool) -> Result<Pair> {
    let link = Link {
        v6,
        ..Link::default()
    };
    Pair::start_over(lab, "tc", link)
}

/// Sends pings through the tunnel; none may be lost.
fn none_lost(pair: &Pair, what: &str) -> Result<()> {
    let to = Pair::ADDRESSES[1];
    let output = pair.hosts[0]
        .ns
        .try_run(["ping", "-q", "-c", PINGS, "-i", "0.02", "-W", "1", to])?;
    let all = format!("{PINGS} received");
    ensure!(output.1.contains(&all), "{what}: {}", output.1);
    Ok(())
}

/// A route of protocol `ospf` over the tunnel, for the peer itself, for the underlay's network or for everything, on
/// its own or by a nexthop object.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_tunnels_packets_do_not_take_a_route_over_a_tunnel() -> Result<()> {
    for v6 in [true, false] {
        Lab::run(&format!("way-ospf-{}", if v6 { 6 } else { 4 }), |lab| {
            let pair = pair(lab, v6)?;
            let ns = &pair.hosts[0].ns;
            let (family, prefixes, via) = match v6 {
                true => (
                    "-6",
                    [
                        format!("{}/128", pair.hosts[1].v6),
                        "fd77::/64".into(),
                        "::/0".into(),
                    ],
                    Pair::ADDRESSES[1],
                ),
                false => (
                    "-4",
                    [
                        format!("{}/32", pair.hosts[1].v4),
                        "10.77.0.0/16".into(),
                        "0.0.0.0/0".into(),
                    ],
                    Pair::ADDRESSES_V4[1],
                ),
            };
            let tunnel = &pair.sender.config().tunnels[0].interface;
            ns.ip_batch_for(
                family,
                &format!("nexthop add id 99 via {via} dev {tunnel}\n"),
            )?;
            if !v6 {
                // What is to be displaced has a metric, as with DHCP.
                ns.ip_batch_for(
                    family,
                    &format!(
                        "route add default via 10.77.255.254 dev {UNDERLAY} metric 100\n\
                         route del default via 10.77.255.254 dev {UNDERLAY} metric 0\n"
                    ),
                )?;
            }
            for prefix in &prefixes {
                for lead in [format!("via {via} dev {tunnel}"), "nhid 99".to_owned()] {
                    let route = format!("{prefix} {lead} proto ospf metric 19");
                    ns.ip_batch_for(family, &format!("route add {route}\n"))?;
                    none_lost(&pair, &route)?;
                    ns.ip_batch_for(family, &format!("route del {prefix} metric 19\n"))?;
                }
            }
            let log = pair.sender.log_since(0);
            ensure!(!log.contains("no route to peers"), "{log}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Another gateway, by a route or by a rule; no route at all, and one again.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_tunnels_packets_follow_the_underlays_routes() -> Result<()> {
    for v6 in [true, false] {
        Lab::run(&format!("way-follow-{}", if v6 { 6 } else { 4 }), |lab| {
            let pair = pair(lab, v6)?;
            let (sender, receiver) = (&pair.hosts[0], &pair.hosts[1]);
            let ns = &sender.ns;
            let (family, second, first, remote) = match v6 {
                true => ("-6", SECOND_V6, "fe80::77", receiver.v6.to_string()),
                false => ("-4", SECOND_V4, "10.77.255.254", receiver.v4.to_string()),
            };
            let length = if v6 { "64" } else { "32" };
            let nodad = if v6 { " nodad" } else { "" };
            let port = sender.port();
            let add = format!("addr add {second}/{length} dev {port}{nodad}\n");
            pair.cloud.router().ip_batch(&add)?;
            if !v6 {
                ns.ip_batch_for(
                    family,
                    &format!("route add {second} dev {UNDERLAY} scope link\n"),
                )?;
            }
            let is_used = |gateway: &str| {
                wait_for("the other way", PATIENCE, || {
                    let known = ns.run(["ip", family, "neigh", "show", gateway])?;
                    Ok(known.contains("lladdr").then_some(()))
                })?;
                none_lost(&pair, gateway)
            };
            let route = format!("default via {second} dev {UNDERLAY}");
            ns.ip_batch_for(family, &format!("route replace {route}\n"))?;
            is_used(second)?;
            ns.ip_batch_for(
                family,
                &format!(
                    "route add default via {first} dev {UNDERLAY} table 100\n\
                     rule add to {remote} lookup 100 pref 50\n\
                     route del default via {second} dev {UNDERLAY}\n"
                ),
            )?;
            is_used(first)?;
            ns.ip_batch_for(
                family,
                &format!("rule del to {remote} lookup 100 pref 50\n"),
            )?;
            wait_for("the problem", PATIENCE, || {
                let status = pair.sender.status()?;
                let problem = status["tunnels"][0]["problem"].to_string();
                let named = problem.contains(&remote) && problem.contains(UNDERLAY);
                let counted = status["dataplane"]["reasons"]["no_route"].as_u64();
                Ok((named && counted > Some(0)).then_some(()))
            })?;
            ns.ip_batch_for(family, &format!("route add {route}\n"))?;
            pair.wait()?;
            none_lost(&pair, "again")
        })?;
    }
    Ok(())
}
