//! A bridge of pseudowires is one network for OSPF: we are its Designated Router, the Backup and
//! neither, among FRR, BIRD and another of us.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Capture, CloudOptions, Daemon, Framing, Host, Lab, Link, LsaKey, Member, NodeConfig, PATIENCE,
    Router, Speaker, check, differences, has_route, join, router_id, wait_for, wait_same,
};

const BACKBONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const SWITCH: &str = "switch";
const ROUTER: u16 = 0x2001;
const NETWORK: u16 = 0x2002;
const LINK: u16 = 0x0008;
const INTRA_AREA_PREFIX: u16 = 0x2009;

/// The routers in the order of their priority, which is the order of their start as well: no router
/// takes the role of a router that has it (RFC 2328 9.4).
fn segment(name: &str, order: [(&str, Speaker); 4]) -> Result<()> {
    Lab::run(name, |lab| {
        let names: Vec<&str> = order
            .iter()
            .map(|(name, _)| *name)
            .chain([SWITCH])
            .collect();
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let (switch, hosts) = hosts.split_last().context("no switch")?;
        let mut hub = NodeConfig::tunnels_only(lab, switch)?;
        let mut routers = Vec::new();
        for ((host, (_, speaker)), priority) in hosts.iter().zip(order).zip([200, 100, 50, 1]) {
            let mut router = Router::new(lab, host, speaker)?;
            router.priority = Some(priority);
            let [.., number] = host.v4.octets();
            router.segment = Some(format!("2001:db8:5::{number}/64"));
            join(&mut router.config, &mut hub, Link::default())?;
            routers.push(router);
        }
        let capture = Capture::cloud(lab, &cloud, "udp", "wire")?;
        bridge(lab, hub)?;
        let mut members = Vec::new();
        for router in routers {
            members.push(router.start(lab)?);
        }
        let all: Vec<&Member> = members.iter().collect();
        wait_roles(&all)?;
        lab.say(format_args!(
            "{} is Designated Router, {} its Backup",
            order[0].0, order[1].0
        ));
        one_network(lab, &all, &all[0].host)?;

        // The Designated Router stops without a sign; its Backup takes over.
        let (gone, left) = all.split_first().context("no members")?;
        if gone.speaker() == Speaker::L2ha {
            gone.daemon.kill()?;
        } else {
            gone.stop_peer()?;
        }
        wait_network_of(left, &left[0].host)?;
        lab.say(format_args!(
            "{} is gone, {} took over",
            order[0].0, order[1].0
        ));
        one_network(lab, left, &left[0].host)?;
        if gone.speaker() == Speaker::L2ha {
            // It comes back and leaves the role where it is.
            gone.daemon.run()?;
            wait_reach(&all)?;
            one_network(lab, &all, &left[0].host)?;
            lab.say(format_args!("{} is back, as one of many", order[0].0));
        }

        let seen = check(capture.finish()?, Framing::default(), "")?;
        lab.say(format_args!("tshark: {} frames, all good", seen.frames));
        ensure!(seen.ospf > 50, "{:?}", seen.stacks);
        Ok(())
    })
}

/// Joins all tunnels of a host by a bridge.
fn bridge(lab: &Lab, hub: NodeConfig) -> Result<Arc<Daemon>> {
    let host = Arc::clone(&hub.host);
    let ports: Vec<String> = hub.tunnels.iter().map(|it| it.interface.clone()).collect();
    let daemon = Daemon::start(lab, hub)?;
    let mut lines = "link add segment type bridge mcast_snooping 0 stp_state 0\n".to_owned();
    for port in &ports {
        lines.push_str(&format!("link set {port} master segment\n"));
    }
    lines.push_str("link set segment up\n");
    host.ns.ip_batch(&lines)?;
    Ok(daemon)
}

/// What a member of ours says of its neighbours: state by router id.
fn states(member: &Member) -> Result<BTreeMap<Ipv4Addr, String>> {
    let answer = member.daemon.ospf("neighbors")?;
    let list = answer.as_array().context("no list of neighbours")?;
    list.iter()
        .map(|neighbour| {
            let id = neighbour["router_id"].as_str().context("no router id")?;
            let state = neighbour["state"].as_str().context("no state")?;
            Ok((id.parse()?, state.to_owned()))
        })
        .collect()
}

/// Waits until the first two, which hold the two roles, are Full with all, and the others with these
/// alone (RFC 2328 10.4).
#[track_caller]
fn wait_roles(members: &[&Member]) -> Result<()> {
    let ids: Vec<Ipv4Addr> = members.iter().map(|it| router_id(&it.host)).collect();
    wait_for("every adjacency that is to be", PATIENCE, || {
        for (at, member) in members.iter().enumerate() {
            let wanted = |to: usize| to != at && (at < 2 || to < 2);
            let adjacent = ids.iter().enumerate().filter(|(to, _)| wanted(*to));
            let mut adjacent: Vec<Ipv4Addr> = adjacent.map(|(_, id)| *id).collect();
            adjacent.sort();
            let mut full = member.full_neighbours()?;
            full.sort();
            ensure!(
                full == adjacent,
                "{} is Full with {full:?} and not with {adjacent:?}",
                member.host.name
            );
            if member.speaker() != Speaker::L2ha {
                continue;
            }
            role(member, at, &ids)?;
            let states = states(member)?;
            for (to, id) in ids.iter().enumerate().filter(|(to, _)| *to != at) {
                let state = if wanted(to) { "full" } else { "two_way" };
                ensure!(
                    states.get(id).map(String::as_str) == Some(state),
                    "{}: {id} is not {state}: {states:?}",
                    member.host.name
                );
            }
        }
        Ok(Some(()))
    })
}

/// Whether a member of ours sees itself and the others in their roles.
fn role(member: &Member, at: usize, ids: &[Ipv4Addr]) -> Result<()> {
    let answer = member.daemon.ospf("interfaces")?;
    let mut list = answer.as_array().context("no list of interfaces")?.iter();
    let here = list.find(|it| it["kind"] == "broadcast");
    let here = here.with_context(|| format!("no broadcast interface in {answer}"))?;
    let state = ["dr", "backup"].get(at).copied().unwrap_or("dr_other");
    let is = |key: &str, id: Ipv4Addr| here[key] == id.to_string();
    ensure!(
        here["state"] == state
            && is("designated_router", ids[0])
            && is("backup_router", ids[1])
            && here["neighbors"] == 3,
        "{} is not {state} among {ids:?}: {here}",
        member.host.name
    );
    Ok(())
}

/// Waits until the one Network-LSA is of this host.
#[track_caller]
fn wait_network_of(members: &[&Member], dr: &Host) -> Result<()> {
    let id = router_id(dr);
    wait_for(&format!("a Network-LSA of {}", dr.name), PATIENCE, || {
        for member in members {
            // Of one that is gone the Network-LSA stays until it is too old, and counts no more.
            let alive = |lsa: &LsaKey| members.iter().any(|it| router_id(&it.host) == lsa.router);
            let mut networks = of_type(member, NETWORK)?;
            networks.retain(alive);
            ensure!(
                networks.len() == 1 && networks[0].router == id,
                "{}: the Network-LSAs are {networks:x?}",
                member.host.name
            );
        }
        Ok(Some(()))
    })
}

fn of_type(member: &Member, ls_type: u16) -> Result<Vec<LsaKey>> {
    let mut lsas = member.database()?;
    lsas.retain(|lsa| lsa.ls_type == ls_type);
    Ok(lsas)
}

#[track_caller]
fn wait_reach(members: &[&Member]) -> Result<()> {
    let device = format!("l2-{SWITCH}");
    for at in members {
        for to in members.iter().filter(|to| to.host.name != at.host.name) {
            let address = Router::address(&to.host).to_string();
            let what = format!("{} has a route to {address}", at.host.name);
            wait_for(&what, PATIENCE, || {
                has_route(&at.host, &address, &device).map(Some)
            })?;
        }
    }
    Ok(())
}

/// All see the same network, described by `dr`, and reach each other over it.
fn one_network(lab: &Lab, members: &[&Member], dr: &Host) -> Result<()> {
    wait_network_of(members, dr)?;
    let types = [ROUTER, NETWORK, INTRA_AREA_PREFIX];
    let lsas = wait_same(members, Some(BACKBONE), &types)?;
    // Link-LSAs go no further than the link, and to all on it.
    let links = wait_for("the same Link-LSAs", PATIENCE, || {
        let reference = of_type(members[0], LINK)?;
        for member in members {
            let different = differences(&reference, &of_type(member, LINK)?);
            ensure!(
                different.is_empty(),
                "{} (right): {different:#?}",
                member.host.name
            );
        }
        let missing = members.iter().find(|member| {
            let id = router_id(&member.host);
            !reference.iter().any(|lsa| lsa.router == id)
        });
        ensure!(missing.is_none(), "no Link-LSA of {missing:?}");
        Ok(Some(reference.len()))
    })?;
    lab.say(format_args!(
        "{lsas} LSAs of the area and {links} of the link, the same at all"
    ));
    wait_reach(members)?;
    let (from, to) = (&members[members.len() - 1].host, &members[1].host);
    let source = Router::address(from).to_string();
    let target = Router::address(to).to_string();
    wait_for(&format!("{target} answers {source}"), PATIENCE, || {
        // Without data, of which the dissector has nothing to say.
        let words = [
            "ping", "-c", "1", "-s", "0", "-W", "1", "-I", &source, &target,
        ];
        from.ns.run(words).map(Some)
    })?;
    wait_for("the network's prefix advertised once", PATIENCE, || {
        segment_prefix(members, dr).map(Some)
    })
}

/// The network's own prefix is advertised by its Designated Router, once (RFC 5340 4.4.3.9).
fn segment_prefix(members: &[&Member], dr: &Host) -> Result<()> {
    let ours = members.iter().find(|it| it.speaker() == Speaker::L2ha);
    let ours = ours.context("none of us is there")?;
    let answer = ours.daemon.ospf("database")?;
    let lsas = answer.as_array().context("no list of LSAs")?;
    let alive = |lsa: &serde_json::Value| {
        let mut ids = members.iter().map(|it| router_id(&it.host).to_string());
        ids.any(|id| lsa["advertising_router"] == id)
    };
    let tell = |lsa: &&serde_json::Value| {
        let body = lsa["body"]["intra_area_prefix"].to_string();
        lsa["type"] == "intra_area_prefix"
            && lsa["age"] != 3600
            && alive(lsa)
            && body.contains("\"2001:db8:5::/64\"")
    };
    let by: Vec<_> = lsas.iter().filter(tell).collect();
    let of_network = |lsa: &serde_json::Value| {
        lsa["body"]["intra_area_prefix"]["referenced_type"] == "network"
            && lsa["advertising_router"] == router_id(dr).to_string()
    };
    ensure!(
        by.len() == 1 && of_network(by[0]),
        "the network's prefix is advertised by {by:#?}"
    );
    Ok(())
}

const US: (&str, Speaker) = ("us", Speaker::L2ha);
const TWIN: (&str, Speaker) = ("twin", Speaker::L2ha);
const FRR: (&str, Speaker) = ("frr", Speaker::Frr);
const BIRD: (&str, Speaker) = ("bird", Speaker::Bird);

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_the_designated_router() -> Result<()> {
    segment("dr-us", [US, FRR, BIRD, TWIN])
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_the_backup_of_frr() -> Result<()> {
    segment("bdr-frr", [FRR, US, BIRD, TWIN])
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_the_backup_of_bird() -> Result<()> {
    segment("bdr-bird", [BIRD, US, FRR, TWIN])
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_hold_no_role() -> Result<()> {
    segment("drother", [FRR, BIRD, US, TWIN])
}
