//! What somebody else removes or changes is noticed by the kernel's notification, and back within a second; what is
//! undone again and again is a problem that names it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    ANYCAST, ANYCAST4, CloudOptions, Daemon, Host, Lab, Link, NodeConfig, PATIENCE, join, judged,
    wait_for,
};

/// What may pass until it is back.
const LIMIT: Duration = Duration::from_secs(1);

/// What somebody does, and where it is seen whether it is undone: there it must say what it said before.
struct Case {
    name: &'static str,
    act: &'static str,
    look: &'static [&'static str],
}

const fn case(name: &'static str, act: &'static str, look: &'static [&'static str]) -> Case {
    Case { name, act, look }
}

/// `ip nexthop` knows no names of protocols: 188 is `ospf`.
const ROUTES: &[&str] = &[
    "ip -6 route show proto ospf",
    "ip -4 route show proto ospf",
    "ip nexthop show proto 188",
];
const ADDRESSES: &[&str] = &["ip -o addr show dev l2-server", "ip -o addr show dev lo"];

/// For the client: its tunnel is `server`, its own services are 2001:db8::81 and 192.0.2.81.
const CASES: &[Case] = &[
    case("routes", "ip -6 route del 2001:db8::80 proto ospf", ROUTES),
    case(
        "IPv4 routes",
        "ip -4 route del 192.0.2.80 proto ospf",
        ROUTES,
    ),
    case("nexthop objects", "ip nexthop flush proto 188", ROUTES),
    // From now on; routes are shown without where they lead, too.
    case(
        "nothing, and no notifications of routes any more",
        "sysctl -qw net.ipv4.nexthop_compat_mode=0",
        &["true"],
    ),
    case(
        "nexthop objects, without notifications of their routes",
        "ip nexthop flush proto 188",
        ROUTES,
    ),
    case(
        "where a nexthop object leads",
        "ip -6 nexthop replace id $(ip nexthop show proto 188 | grep fe80 | cut -d' ' -f2 | head -1) via fe80::bad dev l2-server proto 188",
        ROUTES,
    ),
    case(
        "addresses of the tunnel",
        "ip addr flush dev l2-server",
        ADDRESSES,
    ),
    case(
        "addresses of services",
        "ip addr del 2001:db8::81/128 dev lo; ip addr del 192.0.2.81/32 dev lo",
        ADDRESSES,
    ),
    case(
        "the local route of an address",
        "ip -6 route del local 2001:db8::81 dev lo table local",
        &["ip -6 route show table local 2001:db8::81"],
    ),
    case(
        "the local route of an IPv4 address",
        "ip -4 route del local 192.0.2.81 dev lo table local",
        &["ip -4 route show table local 192.0.2.81"],
    ),
    case(
        "filters",
        "tc filter del dev l2-server egress; tc filter del dev l2h-server ingress",
        &[
            "tc filter show dev l2-server egress | grep -o 'l2ha_[a-z]*'",
            "tc filter show dev l2h-server ingress | grep -o 'l2ha_[a-z]*'",
        ],
    ),
    case(
        "a setting that is notified of",
        "sysctl -qw net.ipv4.conf.l2-server.rp_filter=1",
        &["sysctl -n net.ipv4.conf.l2-server.rp_filter"],
    ),
    case(
        "settings that nobody is notified of",
        "cd /proc/sys/net; echo 1 > ipv6/conf/l2-server/accept_ra; echo 1 > ipv4/conf/l2-server/accept_redirects; \
         echo 0 > ipv4/conf/l2-server/accept_local; echo 1000 > ipv6/neigh/l2-server/retrans_time_ms",
        &[
            "cd /proc/sys/net; cat ipv6/conf/l2-server/accept_ra ipv4/conf/l2-server/accept_redirects \
             ipv4/conf/l2-server/accept_local ipv6/neigh/l2-server/retrans_time_ms",
        ],
    ),
    case(
        "IPv6 on the tunnel",
        "sysctl -qw net.ipv6.conf.l2-server.disable_ipv6=1",
        &[
            "sysctl -n net.ipv6.conf.l2-server.disable_ipv6",
            "ip -o -6 addr show dev l2-server",
        ],
    ),
    case(
        "the interface from a bridge's ports",
        "ip link add br0 type bridge && ip link set br0 up && ip link set l2-server master br0",
        &["ip -o link show l2-server | grep -o 'master [a-z0-9]*'; true"],
    ),
    case(
        "its hidden end from a bridge's ports",
        "ip link set l2h-server master br0",
        &["ip -o link show l2h-server | grep -o 'master [a-z0-9]*'; true"],
    ),
];

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_others_remove_comes_back() -> Result<()> {
    Lab::run("removed", |lab| {
        let (host, daemon) = start(lab)?;
        let mut faults = Vec::new();
        for case in CASES {
            if let Err(error) = restored(lab, &host, case) {
                lab.say(format_args!("FAILED: {error:#}"));
                faults.push(format!("{}: {error:#}", case.name));
            }
            // All of it works again before the next: what is missing is missing by that.
            answers(&host)?;
        }
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        wait_for("a healthy node", PATIENCE, || {
            let status = daemon.status()?;
            ensure!(status["health"] == "healthy", "{}", status["problems"]);
            Ok(Some(()))
        })?;
        lab.say(format_args!("counted: {}", daemon.status()?["repairs"]));
        fight(lab, &host, &daemon)
    })
}

/// A client that routes both families to a server.
fn start(lab: &Lab) -> Result<(Arc<Host>, Arc<Daemon>)> {
    let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["server", "client"])?;
    let [server, client] = &hosts[..] else {
        unreachable!()
    };
    let mut configs = [NodeConfig::new(lab, server)?, NodeConfig::new(lab, client)?];
    let [a, b] = &mut configs;
    join(a, b, Link::default())?;
    let own = "2001:db8::81".parse()?;
    for (config, service, service4, (net, net4)) in [
        (
            a,
            ANYCAST,
            ANYCAST4.to_string(),
            ("fd00:1::1/64", "10.9.0.1/24"),
        ),
        (b, own, "192.0.2.81".into(), ("fd00:1::2/64", "10.9.0.2/24")),
    ] {
        config.services.push(("web".into(), service));
        config.more.push_str(&format!(
            "\n[[services]]\nname = \"web4\"\naddress = \"{service4}\"\n"
        ));
        config.tunnels[0]
            .addresses
            .extend([net.into(), net4.into()]);
        if let Some(ospf) = &mut config.ospf {
            ospf.more.push("ipv4 = true".into());
        }
    }
    // As some distributions have it: the interface's own counts then.
    client.ns.sysctl("net/ipv4/conf/all/rp_filter", "1")?;
    let [a, b] = configs;
    let (_server, daemon) = (Daemon::start(lab, a)?, Daemon::start(lab, b)?);
    wait_for("answers in both families", PATIENCE, || {
        answers(client).map(Some)
    })?;
    Ok((Arc::clone(client), daemon))
}

/// Whether the server's addresses can be had, which needs the routes, the tunnel and its programs.
fn answers(host: &Host) -> Result<()> {
    wait_for("answers", PATIENCE, || {
        for address in [ANYCAST.to_string(), ANYCAST4.to_string()] {
            host.ns
                .run(["ping", "-n", "-c", "1", "-W", "1", &address])?;
        }
        Ok(Some(()))
    })
}

/// What the commands say, without the numbers of nexthop objects and the order of lines.
fn said(host: &Host, look: &[&str]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for command in look {
        let text = host.ns.run(["sh", "-c", command])?;
        for line in text.lines() {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            while let Some(place) = words.iter().position(|it| ["nhid", "id"].contains(it)) {
                words.drain(place..(place + 2).min(words.len()));
            }
            lines.push(words.join(" "));
        }
    }
    lines.sort();
    Ok(lines)
}

fn restored(lab: &Lab, host: &Host, case: &Case) -> Result<()> {
    let before = said(host, case.look)?;
    judged(lab, case.name, |step| {
        let from = Instant::now();
        host.ns.run(["sh", "-c", case.act]).context(case.act)?;
        let back = wait_for("what it was", PATIENCE, || {
            let now = said(host, case.look)?;
            ensure!(now == before, "{now:#?}, and not {before:#?}");
            Ok(Some(from.elapsed()))
        });
        step.window(from, Instant::now(), LIMIT);
        let back = back?;
        lab.say(format_args!("{:<55} back after {back:.0?}", case.name));
        ensure!(back <= LIMIT, "after {back:?}");
        Ok(())
    })
}

/// Somebody puts the interface into a bridge for ever: it is a problem that names the bridge, and it backs off.
fn fight(lab: &Lab, host: &Arc<Host>, daemon: &Daemon) -> Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let other = {
        let (over, host) = (Arc::clone(&over), Arc::clone(host));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // Refused while it is being taken out.
                let _ = host
                    .ns
                    .run(["ip", "link", "set", "l2-server", "master", "br0"]);
                thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let found = wait_for("the problem", PATIENCE, || {
        let status = daemon.command(&["status"])?.output()?;
        let text = String::from_utf8(status.stdout)?;
        let first: Vec<&str> = text.lines().take(5).collect();
        let first = first.join("\n");
        let words = ["somebody undoes", "br0", "ip monitor"];
        ensure!(words.iter().all(|word| first.contains(word)), "{text}");
        Ok(Some(first))
    });
    let mark = daemon.log_mark();
    thread::sleep(Duration::from_secs(2));
    over.store(true, Ordering::Relaxed);
    let ended = other.join();
    lab.say(found?);
    let log = daemon.log_since(mark);
    ensure!(log.lines().count() <= 5, "{log}");
    ensure!(ended.is_ok(), "the other has panicked");
    answers(host)
}
