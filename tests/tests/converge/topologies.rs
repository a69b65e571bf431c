//! The networks of FRR's own tests of OSPFv3 (loopback cost, ECMP between areas, a flush across areas, graceful
//! restart), of FRR's routers, with one of ours in the place of several in turn.

use std::{
    net::Ipv4Addr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Cloud, CloudOptions, External, Lab, Link, Member, PATIENCE, Router, Speaker, devices,
    has_paths, join, wait_for, wait_full, wait_quiet, wait_unrouted,
};

/// What FRR may take: the dead interval (3 s), and up to 5 s between two calculations.
const SOON: Duration = Duration::from_secs(20);
/// A restarted router is away for longer than the dead interval (3 s).
const AWAY: Duration = Duration::from_secs(6);
/// How long it is watched that no route goes late.
const WATCHED: Duration = Duration::from_secs(3);

/// Which routers are joined, and in which area; they count from 1.
struct Drawing {
    links: &'static [(usize, usize, u8)],
    /// The area of each router's own address.
    homes: &'static [u8],
    /// Those that bring in a prefix from outside.
    externals: &'static [usize],
}

/// The routers of a drawing.
struct Network<'a> {
    lab: &'a Lab,
    drawing: &'static Drawing,
    cloud: Arc<Cloud>,
    members: Vec<Member>,
}

impl<'a> Network<'a> {
    /// Starts all of them, the one with number `ours` being ours, and waits until all are Full.
    fn start(lab: &'a Lab, drawing: &'static Drawing, ours: usize) -> Result<Self> {
        let names: Vec<String> = (1..=drawing.homes.len())
            .map(|number| format!("r{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let mut routers = Vec::new();
        for (number, host) in (1..).zip(&hosts) {
            let speaker = match number == ours {
                true => Speaker::L2ha,
                false => Speaker::Frr,
            };
            let mut router = Router::new(lab, host, speaker)?;
            router.home = area(drawing.homes[number - 1]);
            if drawing.externals.contains(&number) {
                router.external = Some(external(number));
            }
            routers.push(router);
        }
        for (one, other, number) in drawing.links {
            let [a, b] = routers.get_disjoint_mut([one - 1, other - 1])?;
            a.areas.push((format!("r{other}"), area(*number)));
            b.areas.push((format!("r{one}"), area(*number)));
            join(&mut a.config, &mut b.config, Link::default())?;
        }
        let members = routers
            .into_iter()
            .map(|router| router.start(lab))
            .collect::<Result<Vec<_>>>()?;
        for frr in members.iter().filter_map(|member| member.frr.as_ref()) {
            frr.configure(&[
                "router ospf6",
                "graceful-restart grace-period 60",
                "graceful-restart helper enable",
            ])?;
        }
        let network = Self {
            lab,
            drawing,
            cloud,
            members,
        };
        for number in 1..=network.members.len() {
            wait_full(network.at(number), &network.neighbours(number))?;
        }
        Ok(network)
    }

    fn at(&self, number: usize) -> &Member {
        &self.members[number - 1]
    }

    fn neighbours(&self, number: usize) -> Vec<&Member> {
        let links = self.drawing.links.iter();
        links
            .filter_map(|(one, other, _)| match number {
                _ if number == *one => Some(self.at(*other)),
                _ if number == *other => Some(self.at(*one)),
                _ => None,
            })
            .collect()
    }

    fn address(&self, number: usize) -> String {
        Router::address(&self.at(number).host).to_string()
    }

    /// Waits until the kernel of a router leads to a destination over its neighbours with these numbers.
    #[track_caller]
    fn wait_paths(&self, number: usize, destination: &str, over: &[usize]) -> Result<()> {
        let devices: Vec<_> = over.iter().map(|number| format!("l2-r{number}")).collect();
        wait_for("the next hops", PATIENCE, || {
            has_paths(&self.at(number).host, destination, &devices).map(Some)
        })
    }

    /// Waits until it leads there over one or more of these. FRR 8.4 misses a change now and then, whichever the others
    /// are: its database is whole and its routes are not, and stay so. A router of FRR may begin anew once.
    #[track_caller]
    fn wait_any_path(&self, number: usize, destination: &str, over: &[usize]) -> Result<()> {
        let wanted: Vec<_> = over.iter().map(|number| format!("l2-r{number}")).collect();
        let member = self.at(number);
        let right = || {
            let routes = member
                .host
                .ns
                .ip_json(&["-6", "route", "show", destination])?;
            let found = devices(&routes[0]);
            let right = found
                .iter()
                .all(|device| wanted.iter().any(|it| it == device));
            ensure!(
                !found.is_empty() && right,
                "R{number} to {destination}: {routes}, not over {wanted:?}"
            );
            Ok(Some(()))
        };
        if let Some(frr) = &member.frr
            && let Err(error) = wait_for("a next hop", SOON, right)
        {
            self.lab
                .say(format_args!("R{number}, FRR's, begins anew: {error:#}"));
            frr.clear()?;
        }
        wait_for("a next hop", PATIENCE, right)
    }

    /// Loses all packets between two routers from now on, without a sign.
    fn cut(&self, one: usize, other: usize) -> Result<()> {
        let [a, b] = [one, other].map(|number| self.at(number).host.v4);
        self.cloud.router().ip_batch(&format!(
            "rule add pref 10 from {a} to {b} blackhole\nrule add pref 10 from {b} to {a} blackhole\n"
        ))
    }

    /// Which routers have no route to which others' addresses.
    fn missing(&self) -> Result<Vec<(usize, usize)>> {
        let mut missing = Vec::new();
        for from in 1..=self.members.len() {
            let routes = self.at(from).host.ns.ip_json(&["-6", "route"])?;
            let routes = routes.as_array().context("no list of routes")?;
            for to in (1..=self.members.len()).filter(|to| *to != from) {
                let address = self.address(to);
                let known = routes
                    .iter()
                    .any(|route| route["dst"] == address && route["protocol"] == "ospf");
                if !known {
                    missing.push((from, to));
                }
            }
        }
        Ok(missing)
    }

    #[track_caller]
    fn wait_everywhere(&self) -> Result<()> {
        wait_for("every address in every kernel", PATIENCE, || {
            let missing = self.missing()?;
            ensure!(missing.is_empty(), "no route (from, to): {missing:?}");
            Ok(Some(()))
        })
    }
}

fn area(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(0, 0, 0, number)
}

fn external(number: usize) -> External {
    External {
        prefix: format!("2001:db8:e{number}::/48"),
        metric: 5,
        type1: false,
    }
}

/// Two routers: the address on a loopback interface costs nothing of its own (RFC 5340 4.4.3.9).
fn loopback_cost(ours: usize) -> Result<()> {
    const DRAWING: Drawing = Drawing {
        links: &[(1, 2, 0)],
        homes: &[0, 0],
        externals: &[],
    };
    Lab::run(&format!("topology-loopback-{ours}"), |lab| {
        let network = Network::start(lab, &DRAWING, ours)?;
        for (from, to) in [(1, 2), (2, 1)] {
            let address = network.address(to);
            network.wait_paths(from, &address, &[to])?;
            // The link's 10, and nothing for the loopback interface. FRR 8.4 makes it 10.
            let wanted = if to == ours { 10 } else { 20 };
            let member = network.at(from);
            let prefix = format!("{address}/128");
            let metric = match &member.frr {
                Some(frr) => {
                    let routes = frr.zebra(&format!("show ipv6 route {prefix} json"))?;
                    let theirs = routes[&prefix].as_array().context("no routes")?;
                    let ospf = theirs.iter().find(|route| route["protocol"] == "ospf6");
                    ospf.map(|route| route["metric"].clone())
                }
                None => {
                    let routes = member.daemon.ospf("routes")?;
                    let list = routes.as_array().context("no list")?;
                    let found = list.iter().find(|route| route["prefix"] == *prefix);
                    found.map(|route| route["metric"].clone())
                }
            };
            ensure!(
                metric.as_ref().is_some_and(|metric| *metric == wanted),
                "r{from} reaches r{to} at {metric:?}"
            );
        }
        lab.say("FRR's router reaches ours at the cost of the link");
        Ok(())
    })
}

/// Three ways over two border routers of unlike reach:
///
/// ```text
///  -- R2 ---- R5 -----          R1 to R6, R8 and the links between them are in area 0;
/// /           | \     \         the links to R7, and R7, are in area 1
/// R1 - R3 --- R6 ----- R7       (R8 has a link to R5 and to R6)
/// \         / |
///  -- R4 --   R8
/// ```
fn ecmp_inter_area(ours: usize) -> Result<()> {
    const DRAWING: Drawing = Drawing {
        links: &[
            (1, 2, 0),
            (1, 3, 0),
            (1, 4, 0),
            (2, 5, 0),
            (3, 6, 0),
            (4, 6, 0),
            (5, 7, 1),
            (5, 8, 0),
            (6, 7, 1),
            (6, 8, 0),
        ],
        homes: &[0, 0, 0, 0, 0, 0, 1, 0],
        externals: &[7, 8],
    };
    Lab::run(&format!("topology-ecmp-{ours}"), |lab| {
        let network = Network::start(lab, &DRAWING, ours)?;
        let paths = |over: &[usize]| -> Result<()> {
            for destination in [network.address(8), external(8).prefix, network.address(7)] {
                // FRR 8.4 may leave out one of several equal ways, whichever the others are, and of another
                // area's prefix it takes only one border router's.
                match ours {
                    1 => network.wait_paths(1, &destination, over)?,
                    _ => network.wait_any_path(1, &destination, over)?,
                }
            }
            // And as a border router it withdraws what it has said of R7, by which its prefix is reached.
            network.wait_any_path(1, &external(7).prefix, over)?;
            lab.say(format_args!("R1 reaches R7 and R8 over {over:?}"));
            Ok(())
        };
        paths(&[2, 3, 4])?;
        network.cut(3, 6)?;
        paths(&[2, 4])?;
        network.cut(2, 5)?;
        paths(&[4])
    })
}

/// R1 (area 1) - R2 - R3 - R4 - R5 (area 2): what R1 withdraws is gone in every area.
fn flush_across_areas(ours: usize) -> Result<()> {
    const DRAWING: Drawing = Drawing {
        links: &[(1, 2, 1), (2, 3, 0), (3, 4, 0), (4, 5, 2)],
        homes: &[1, 0, 0, 0, 2],
        externals: &[1],
    };
    const INTER_AREA_PREFIX: u16 = 0x2003;
    Lab::run(&format!("topology-flush-{ours}"), |lab| {
        let network = Network::start(lab, &DRAWING, ours)?;
        network.wait_everywhere()?;
        let (first, address) = (network.at(1), network.address(1));
        // How many prefixes of other areas each area hears of.
        let inter_area = || -> Result<Vec<usize>> {
            [(1, 1), (3, 0), (5, 2)]
                .into_iter()
                .map(|(number, of)| {
                    let lsas = network.at(number).database()?;
                    let of = Some(area(of));
                    let theirs = lsas
                        .iter()
                        .filter(|lsa| lsa.area == of && lsa.ls_type == INTER_AREA_PREFIX);
                    Ok(theirs.count())
                })
                .collect()
        };
        let before = inter_area()?;
        let present = |yes: bool| -> Result<()> {
            let verb = if yes { "add" } else { "del" };
            if first.speaker() == Speaker::L2ha {
                first.daemon.reload(|config| match yes {
                    true => config
                        .own_addresses
                        .push(Router::address(&first.host).into()),
                    false => config.own_addresses.clear(),
                })?;
            } else {
                let own = format!("{address}/128");
                first.host.ns.run(["ip", "addr", verb, &own, "dev", "lo"])?;
            }
            let prefix = external(1).prefix;
            let words = ["ip", "-6", "route", verb, &prefix, "dev", "lo"];
            first.host.ns.run(words).map(drop)
        };
        present(false)?;
        for number in 2..=5 {
            for destination in [&address, &external(1).prefix] {
                wait_unrouted(&network.at(number).host, destination)?;
            }
        }
        // Of R1's address, areas 0 and 2 have heard from the border.
        let wanted = [before[0], before[1] - 1, before[2] - 1];
        wait_for("no LSA of it", PATIENCE, || {
            let now = inter_area()?;
            ensure!(now == wanted, "{now:?}, not {wanted:?}; before {before:?}");
            Ok(Some(()))
        })?;
        lab.say(format_args!(
            "withdrawn: {before:?} inter-area prefixes, then {wanted:?}"
        ));
        present(true)?;
        network.wait_everywhere()?;
        network.wait_paths(5, &external(1).prefix, &[4])?;
        wait_for("its LSAs again", PATIENCE, || {
            let now = inter_area()?;
            ensure!(now == before, "{now:?}, not {before:?}");
            Ok(Some(()))
        })
    })
}

/// R1 (area 1) - R2 - R3, from which lead R4 - R5 (area 2) and R6 - R7 (area 3): ours restarts gracefully, and then
/// a neighbour of it that is FRR's; no route is lost.
fn graceful_restart(ours: usize, theirs: usize) -> Result<()> {
    const DRAWING: Drawing = Drawing {
        links: &[
            (1, 2, 1),
            (2, 3, 0),
            (3, 4, 0),
            (3, 6, 0),
            (4, 5, 2),
            (6, 7, 3),
        ],
        homes: &[1, 0, 0, 0, 2, 0, 3],
        externals: &[],
    };
    Lab::run(&format!("topology-graceful-{ours}"), |lab| {
        let network = Network::start(lab, &DRAWING, ours)?;
        network.wait_everywhere()?;
        wait_quiet(&network.members.iter().collect::<Vec<_>>())?;
        let none_missing = |until: Instant, but: Option<usize>| -> Result<()> {
            while Instant::now() < until {
                let mut missing = network.missing()?;
                missing.retain(|(from, _)| Some(*from) != but);
                ensure!(missing.is_empty(), "no route (from, to): {missing:?}");
                thread::sleep(Duration::from_millis(200));
            }
            Ok(())
        };
        let member = network.at(ours);
        member.daemon.leave()?;
        none_missing(Instant::now() + AWAY, None)?;
        member.daemon.run()?;
        let graceful = |name: &str| member.counter(&["graceful", name, "completed"]);
        wait_for("the end of our restart", PATIENCE, || {
            none_missing(Instant::now() + Duration::from_millis(1), None)?;
            let ended = graceful("restarts_ended")?;
            ensure!(ended == 1, "{ended} ended");
            Ok(Some(()))
        })?;
        none_missing(Instant::now() + WATCHED, None)?;
        for number in 1..=network.members.len() {
            wait_full(network.at(number), &network.neighbours(number))?;
        }
        lab.say(format_args!(
            "R{ours}, ours, has restarted and no route was lost"
        ));

        // zebra (FRR 8.4) replaces the restarted router's own routes when its ospf6d is back.
        network.at(theirs).restart_peer_gracefully()?;
        wait_for("the end of our help", PATIENCE, || {
            none_missing(Instant::now() + Duration::from_millis(1), Some(theirs))?;
            let ended = graceful("helps_ended")?;
            ensure!(ended == 1, "{ended} ended");
            Ok(Some(()))
        })?;
        none_missing(Instant::now() + WATCHED, Some(theirs))?;
        network.wait_everywhere()?;
        lab.say(format_args!(
            "R{theirs}, FRR's, has restarted and no other lost a route"
        ));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_loopback_costs_nothing_at_us() -> Result<()> {
    loopback_cost(1)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_have_three_ways_over_two_borders() -> Result<()> {
    ecmp_inter_area(1)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_a_border_on_two_ways() -> Result<()> {
    ecmp_inter_area(6)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_are_behind_two_borders() -> Result<()> {
    ecmp_inter_area(7)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_withdraw_across_areas() -> Result<()> {
    flush_across_areas(1)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_pass_a_flush_from_our_area() -> Result<()> {
    flush_across_areas(2)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn we_pass_a_flush_from_the_backbone() -> Result<()> {
    flush_across_areas(4)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_leaf_of_ours_restarts() -> Result<()> {
    graceful_restart(1, 2)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_hub_of_ours_restarts() -> Result<()> {
    graceful_restart(3, 2)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_border_of_ours_restarts() -> Result<()> {
    graceful_restart(4, 3)
}
