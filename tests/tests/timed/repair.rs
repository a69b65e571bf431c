//! What others break without the daemon is repaired within a second, and logged.

use std::{
    fmt::Debug,
    net::Ipv6Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST, CloudOptions, Daemon, Host, HttpServer, Lab, Link, NodeConfig, PATIENCE, Probe,
    ProbeOptions, UNDERLAY, attached, join, judged, wait_for,
};
use serde_json::Value;

/// What a repair may take, from the act, or from the moment the underlay is back.
const LIMIT: Duration = Duration::from_secs(1);
/// What a new interface may cost the anycast route: its neighbour has to become Full again, and a
/// router may not say twice within MinLSInterval (5 s, RFC 5340 C.2, RFC 2328 B) what its links are.
const NEW_ADJACENCY: Duration = Duration::from_secs(6);
/// How long before something is broken everything has flowed.
const LATELY: Duration = Duration::from_millis(300);
/// The virtual interface of the daemon under repair.
const VISIBLE: &str = "l2-server";
/// Its hidden end.
const HIDDEN: &str = "l2h-server";

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn repairs_take_less_than_a_second_with_xdp() -> Result<()> {
    Lab::run("repair-xdp", |lab| repair_all(lab, "xdp"))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn repairs_take_less_than_a_second_with_tc() -> Result<()> {
    Lab::run("repair-tc", |lab| repair_all(lab, "tc"))
}

fn repair_all(lab: &Lab, mode: &str) -> Result<()> {
    let bench = Bench::new(lab, mode)?;
    let mut faults = Vec::new();
    let mut run = |name: &str, repair: &dyn Fn() -> Result<Took>| {
        let result = judged(lab, name, |step| {
            let from = Instant::now();
            let took = repair();
            step.window(from, Instant::now(), LIMIT);
            let took = took?;
            lab.say(format_args!(
                "{name:<40} back after {:>6.1} ms, link carries after {:>6.1} ms, \
                 anycast answers after {:>6.1} ms",
                ms(took.back),
                ms(took.link),
                ms(took.anycast)
            ));
            ensure!(
                took.back <= LIMIT && took.link <= LIMIT && took.anycast <= took.limit,
                "{took:?}"
            );
            Ok(())
        });
        if let Err(error) = result {
            lab.say(format_args!("FAILED: {error:#}"));
            faults.push(format!("{error:#}"));
        }
    };
    run("virtual interface deleted", &|| bench.interface_deleted());
    for (name, words, device) in [
        (
            "its tc filter deleted",
            ["tc", "filter", "del", "dev", VISIBLE, "egress"],
            VISIBLE,
        ),
        (
            "its clsact qdisc deleted",
            ["tc", "qdisc", "del", "dev", VISIBLE, "clsact"],
            VISIBLE,
        ),
        (
            "the hidden end's clsact qdisc deleted",
            ["tc", "qdisc", "del", "dev", HIDDEN, "clsact"],
            HIDDEN,
        ),
    ] {
        run(name, &|| bench.program_gone(&words, device));
    }
    for device in [HIDDEN, VISIBLE] {
        run(&format!("{device} set down"), &|| bench.set_down(device));
    }
    run("MTU of the virtual interface changed", &|| {
        bench.mtu_changed()
    });
    run("its link-local address removed", &|| {
        bench.link_local_removed()
    });
    run("service address removed from lo", &|| {
        bench.service_removed()
    });
    run("anycast route removed", &|| bench.route_removed());
    run("underlay down and up", &|| bench.underlay_down_and_up());
    run("underlay address removed and added", &|| {
        bench.underlay_address_away_and_back()
    });
    if mode == "xdp" {
        run("XDP program removed by others", &|| bench.xdp_removed());
    } else {
        let words = ["tc", "qdisc", "del", "dev", UNDERLAY, "clsact"];
        run("underlay's clsact qdisc deleted", &|| {
            bench.program_gone(&words, UNDERLAY)
        });
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    let status = bench.daemon.status()?;
    lab.say(format_args!("counted: {}", status["repairs"]));
    Ok(())
}

/// How long it took, from the act or from the moment the underlay was back.
#[derive(Debug)]
struct Took {
    /// Until the thing itself was back.
    back: Duration,
    /// Until answers came steadily over the pseudowire's own addresses.
    link: Duration,
    /// Until answers came steadily from the anycast address, which needs OSPF's route.
    anycast: Duration,
    /// What that may take.
    limit: Duration,
}

/// A server that answers, and a client whose daemon has things to repair.
struct Bench {
    host: Arc<Host>,
    daemon: Arc<Daemon>,
    _server: Arc<Daemon>,
    _web: HttpServer,
    link: Probe,
    anycast: Probe,
}

impl Bench {
    fn new(lab: &Lab, mode: &str) -> Result<Self> {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["server", "client"])?;
        let [server, client] = &hosts[..] else {
            unreachable!()
        };
        let mut configs = [NodeConfig::new(lab, server)?, NodeConfig::new(lab, client)?];
        let [a, b] = &mut configs;
        join(a, b, Link::default())?;
        a.services.push(("web".into(), ANYCAST));
        // One for the client, too, to be removed from its loopback.
        b.services.push(("other".into(), OTHER));
        for (config, address) in [(a, LINK), (b, LINK_OTHER)] {
            config.mode = mode.into();
            config.tunnels[0].addresses.push(format!("{address}/64"));
        }
        let [a, b] = configs;
        let (server_daemon, daemon) = (Daemon::start(lab, a)?, Daemon::start(lab, b)?);
        let web = HttpServer::start(&server.ns, Ipv6Addr::UNSPECIFIED, "server")?;
        let probe = |address| -> Result<Probe> {
            let options = ProbeOptions {
                every: Duration::from_millis(10),
                ..ProbeOptions::default()
            };
            let start = Instant::now();
            let probe = Probe::start(&client.ns, address, options)?;
            probe.wait_served_by("server", start, 20, PATIENCE)?;
            Ok(probe)
        };
        let (link, anycast) = (probe(LINK)?, probe(ANYCAST)?);
        lab.say(format_args!("{mode}: answers over the pseudowire"));
        Ok(Self {
            host: Arc::clone(client),
            daemon,
            _server: server_daemon,
            _web: web,
            link,
            anycast,
        })
    }

    /// Breaks something with `act` and waits until `back` says it is back and answers come.
    #[track_caller]
    fn timed(
        &self,
        act: impl FnOnce() -> Result<()>,
        back: impl FnMut() -> Result<Option<()>>,
    ) -> Result<Took> {
        self.wait_calm()?;
        let mark = self.daemon.log_mark();
        let pid = self.daemon.pid()?;
        let start = Instant::now();
        act()?;
        wait_for("the thing to be back", PATIENCE, back)?;
        let took = self.took(start, start.elapsed())?;
        self.must_have_said(mark)?;
        ensure!(self.daemon.pid()? == pid, "another daemon");
        self.must_be_whole()?;
        Ok(took)
    }

    /// Everything has flowed for a while before something is broken.
    #[track_caller]
    fn wait_calm(&self) -> Result<()> {
        for probe in [&self.link, &self.anycast] {
            probe.wait_steady(Instant::now() - LATELY, PATIENCE)?;
        }
        Ok(())
    }

    #[track_caller]
    fn took(&self, start: Instant, back: Duration) -> Result<Took> {
        Ok(Took {
            back,
            link: self.link.wait_steady(start, PATIENCE)?,
            anycast: self.anycast.wait_steady(start, PATIENCE)?,
            limit: LIMIT,
        })
    }

    /// A repair has a line in the log.
    fn must_have_said(&self, mark: usize) -> Result<()> {
        let said = self.daemon.log_since(mark);
        ensure!(
            ["repair", "underlay", "route"]
                .iter()
                .any(|word| said.contains(word)),
            "nothing in the log: {said}"
        );
        Ok(())
    }

    /// The daemon sees no problem left.
    #[track_caller]
    fn must_be_whole(&self) -> Result<()> {
        wait_for("a status without a problem", LIMIT, || {
            let status = self.daemon.status()?;
            let problems = [
                &status["underlay"]["problem"],
                &status["tunnels"][0]["problem"],
            ];
            ensure!(problems.iter().all(|problem| problem.is_null()), "{status}");
            ensure!(status["tunnels"][0]["up"] == true, "{status}");
            Ok(Some(()))
        })
    }

    fn run(&self, words: &[&str]) -> Result<()> {
        self.host.ns.run(words).map(drop)
    }

    fn link(&self, device: &str) -> Result<Value> {
        let links = self.host.ns.ip_json(&["link", "show", device])?;
        Ok(links[0].clone())
    }

    fn interface_deleted(&self) -> Result<Took> {
        let before = self.host.ns.ifindex(VISIBLE)?.context("no interface")?;
        let took = self.timed(
            || self.run(&["ip", "link", "del", VISIBLE]),
            || {
                let now = self.host.ns.ifindex(VISIBLE)?;
                Ok(now.filter(|index| *index != before).map(drop))
            },
        )?;
        Ok(Took {
            limit: NEW_ADJACENCY,
            ..took
        })
    }

    /// Runs a command that takes the programs from a device, and waits for all of them.
    fn program_gone(&self, words: &[&str], device: &str) -> Result<Took> {
        let places = || -> Result<Vec<String>> {
            let mut places: Vec<_> = attached(&self.host.ns)?
                .into_iter()
                .filter(|program| program.device == device)
                .map(|program| program.place)
                .collect();
            places.sort();
            Ok(places)
        };
        let before = places()?;
        ensure!(!before.is_empty(), "{device} has no program");
        self.timed(
            || {
                self.run(words)?;
                Ok(())
            },
            || same(places()?, &before),
        )
    }

    fn set_down(&self, device: &str) -> Result<Took> {
        self.timed(
            || self.run(&["ip", "link", "set", device, "down"]),
            || {
                let link = self.link(device)?;
                let flags = link["flags"].as_array().context("no flags")?;
                ensure!(flags.iter().any(|flag| flag == "UP"), "{link}");
                Ok(Some(()))
            },
        )
    }

    fn mtu_changed(&self) -> Result<Took> {
        let before = self.link(VISIBLE)?["mtu"].clone();
        self.timed(
            || self.run(&["ip", "link", "set", VISIBLE, "mtu", "1300"]),
            || same(self.link(VISIBLE)?["mtu"].clone(), &before),
        )
    }

    fn link_local_removed(&self) -> Result<Took> {
        let addresses = || -> Result<Vec<String>> {
            let list = self
                .host
                .ns
                .ip_json(&["-6", "addr", "show", "dev", VISIBLE, "scope", "link"])?;
            Ok(list[0]["addr_info"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|info| info["local"].as_str().map(str::to_owned))
                .collect())
        };
        let before = addresses()?;
        let address = format!("{}/64", before.first().context("no link-local address")?);
        self.timed(
            || self.run(&["ip", "addr", "del", &address, "dev", VISIBLE]),
            || same(addresses()?, &before),
        )
    }

    fn service_removed(&self) -> Result<Took> {
        let address = format!("{OTHER}/128");
        self.timed(
            || self.run(&["ip", "addr", "del", &address, "dev", "lo"]),
            || {
                let list = self
                    .host
                    .ns
                    .run(["ip", "-6", "addr", "show", "dev", "lo"])?;
                ensure!(list.contains(&address), "{list}");
                Ok(Some(()))
            },
        )
    }

    fn route_removed(&self) -> Result<Took> {
        let address = ANYCAST.to_string();
        self.timed(
            || self.run(&["ip", "-6", "route", "del", &address]),
            || {
                let routes = self.host.ns.ip_json(&["-6", "route", "show", &address])?;
                ensure!(routes[0]["dev"] == VISIBLE, "{routes}");
                Ok(Some(()))
            },
        )
    }

    fn underlay_down_and_up(&self) -> Result<Took> {
        self.underlay_away(&["ip", "link", "set", UNDERLAY, "down"])
    }

    fn underlay_address_away_and_back(&self) -> Result<Took> {
        let address = format!("{}/32", self.host.v4);
        self.underlay_away(&["ip", "addr", "del", &address, "dev", UNDERLAY])
    }

    /// Takes the underlay away for a moment; the time counts from its return.
    #[track_caller]
    fn underlay_away(&self, words: &[&str]) -> Result<Took> {
        self.wait_calm()?;
        let mark = self.daemon.log_mark();
        let cut = Instant::now();
        self.run(words)?;
        // Shorter than the dead interval: the neighbours stay, so that the time is the repair's.
        std::thread::sleep(Duration::from_secs(1));
        let gap = self.link.longest_gap(cut, Instant::now());
        ensure!(
            gap > Duration::from_millis(800),
            "answers came without an underlay"
        );
        let start = Instant::now();
        self.host.underlay_up()?;
        let took = self.took(start, Duration::ZERO)?;
        self.must_have_said(mark)?;
        self.must_be_whole()?;
        Ok(took)
    }

    fn xdp_removed(&self) -> Result<Took> {
        let xdp = || -> Result<Option<u64>> {
            Ok(attached(&self.host.ns)?
                .into_iter()
                .find(|program| program.device == UNDERLAY && program.place == "driver")
                .map(|program| program.id))
        };
        let program = xdp()?.context("no XDP program on the underlay")?;
        let links = self.host.ns.run(["bpftool", "-j", "link", "show"])?;
        let links: Value = serde_json::from_str(&links)?;
        let link = links
            .as_array()
            .into_iter()
            .flatten()
            .find(|link| link["prog_id"] == program)
            .and_then(|link| link["id"].as_u64())
            .context("no link of that program")?
            .to_string();
        self.timed(
            || {
                self.run(&["bpftool", "link", "detach", "id", &link])?;
                ensure!(xdp()?.is_none_or(|now| now == program), "not detached");
                Ok(())
            },
            || Ok(xdp()?.map(drop)),
        )
    }
}

/// Whether something is as it was.
fn same<T: PartialEq + Debug>(now: T, before: &T) -> Result<Option<()>> {
    ensure!(now == *before, "{now:?}, not {before:?}");
    Ok(Some(()))
}

/// The server's address on the pseudowire.
const LINK: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
/// The client's address on the pseudowire.
const LINK_OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2);
/// The client's own service.
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x81);

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
