//! Hosts that know nothing of l2ha use a service through a pair of gateways: one by a route that a script moves, one
//! behind a router of its network, which is FRR. What is lost when nodes die is told, and has a generous limit: the machine
//! is busy.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    Beats, Bird, Cloud, CloudOptions, ClusterNode, Daemon, Echo, Frr, Host, Lab, Namespace,
    NodeConfig, OspfLink, PATIENCE, Process, RouterConfig, cluster_file, wait_for,
};

/// The service.
const WEB: &str = "2001:db8::80";
/// Its IPv4 address.
const WEB4: &str = "192.0.2.80";
/// Interface in the hosts' network.
const LAN: &str = "lan0";
/// What the gateways have of their own; docs/gateways.md.
const PREFIXES: &str = ", prefixes = [\"2001:db8:9::/48\", \"10.9.0.0/16\"]";
/// Whoever dies, the service goes on within that.
const GOES_ON: Duration = Duration::from_secs(10);
/// The script of the page.
const PAGE: &str = include_str!("../../../docs/gateways.md");

/// The network of hosts that know nothing of us.
struct Lan {
    bridge: Namespace,
}

impl Lan {
    fn new() -> Result<Self> {
        let bridge = Namespace::new("lan")?;
        bridge.ip_batch("link add br0 type bridge\nlink set br0 up\n")?;
        Ok(Self { bridge })
    }

    /// Gives a host an interface there, with the address of this number.
    fn join(&self, host: &Host, number: u8) -> Result<()> {
        let (name, bridge) = (&host.name, self.bridge.name());
        host.ns.ip_batch(&format!(
            "link add {LAN} type veth peer name {name} netns {bridge}\n\
             addr add 2001:db8:9::{number}/64 dev {LAN}\n\
             addr add 10.9.0.{number}/24 dev {LAN}\n\
             link set {LAN} up\n"
        ))?;
        let up = format!("link set {name} master br0\nlink set {name} up\n");
        self.bridge.ip_batch(&up)
    }

    /// Takes a host off it, or puts it back.
    fn set(&self, host: &Host, state: &str) -> Result<()> {
        self.bridge
            .ip_batch(&format!("link set {} {state}\n", host.name))
    }
}

/// The script that moves routes, as the page has it.
fn watch_script(folder: &Path) -> Result<String> {
    let (_, script) = PAGE.split_once("```sh\n").context("no script")?;
    let (script, _) = script.split_once("```").context("no end of it")?;
    let file = folder.join("gateway-watch");
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(file.display().to_string())
}

/// Runs it on a gateway: when the service is out of reach through the other one, both routes of the host lead here.
fn watch(lab: &Lab, gateway: &Host, (own, other): (u8, u8), host: &Host) -> Result<Process> {
    let enter = format!("nsenter --net={}", host.ns.path().display());
    let take_over = format!(
        "{enter} ip -6 route replace {WEB} via 2001:db8:9::{own} && \
         {enter} ip route replace {WEB4} via 10.9.0.{own}"
    );
    let log = lab.dir().join(format!("watch-{}.log", gateway.name));
    let output = fs::File::create(log)?;
    let mut command = Command::new(watch_script(lab.dir())?);
    command
        .args([WEB, &format!("2001:db8:9::{other}"), "sh", "-c", &take_over])
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    gateway.ns.spawn(command)
}

/// BIRD on a gateway, which tells the network what l2ha has put into the kernel.
fn bird(lab: &Lab, gateway: &Host) -> Result<Arc<Bird>> {
    let mut config = RouterConfig::new(gateway.v4, vec![OspfLink::new(LAN, 10)]);
    config.links[0].priority = Some(1);
    config.learns = true;
    config.bfd = Some((100.0, 3));
    Bird::start(lab, gateway, &config)
}

/// The router of the network.
fn frr(lab: &Lab, router: &Host) -> Result<Arc<Frr>> {
    let mut config = RouterConfig::new([10, 9, 0, 254].into(), vec![OspfLink::new(LAN, 10)]);
    config.links[0].priority = Some(1);
    config.bfd = Some((100.0, 3));
    Frr::start(lab, router, &config)
}

/// Everybody's questions.
struct Asking {
    who: &'static str,
    beats: Beats,
}

/// Does something; everybody must have answers again. Says what it cost each.
fn cost(
    lab: &Lab,
    what: &str,
    asking: &[Asking],
    server: Option<&str>,
    act: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let from = Instant::now();
    act()?;
    for Asking { who, beats } in asking {
        wait_for(&format!("{what}: answers for {who}"), GOES_ON, || {
            let now = Instant::now();
            thread::sleep(Duration::from_millis(200));
            let answered = beats.answered_by(now);
            let right = server.is_none_or(|server| answered.iter().all(|it| it == server));
            ensure!(!answered.is_empty() && right, "{answered:?}");
            Ok(Some(()))
        })?;
    }
    thread::sleep(Duration::from_millis(300));
    for Asking { who, beats } in asking {
        let gap = beats.gap(from, Instant::now() - Duration::from_millis(100));
        lab.say(format_args!("{what}: {who}: {gap:?}"));
    }
    Ok(())
}

/// Cuts a gateway off both its networks at once, or heals that.
fn dead(cloud: &Cloud, lan: &Lan, gateway: &Host, dead: bool) -> Result<()> {
    if dead {
        cloud.cut(gateway)?;
        return lan.set(gateway, "down");
    }
    lan.set(gateway, "up")?;
    cloud.heal(gateway)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn hosts_that_know_nothing_of_us_go_on() -> Result<()> {
    Lab::run("gateways", |lab| {
        let names = ["server-1", "server-2", "gateway-1", "gateway-2"];
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &names)?;
        let [server_1, server_2, gateway_1, gateway_2] = [0, 1, 2, 3].map(|at| &hosts[at]);
        let lan = Lan::new()?;
        let outside = |name: &str, v4: [u8; 4]| Host::new(name, v4.into(), WEB.parse()?);
        let plain = outside("plain", [10, 9, 0, 100])?;
        let router = outside("router", [10, 9, 0, 254])?;
        let behind = outside("behind", [10, 9, 1, 100])?;
        for (host, number) in [
            (&**gateway_1, 1),
            (gateway_2, 2),
            (&plain, 100),
            (&router, 254),
        ] {
            lan.join(host, number)?;
        }
        for host in [&**gateway_1, gateway_2, &router] {
            host.ns.sysctl("net/ipv6/conf/all/forwarding", "1")?;
            host.ns.sysctl("net/ipv4/ip_forward", "1")?;
        }
        for gateway in [gateway_1, gateway_2] {
            // All of the network's prefix lies behind its router, but for what is on the link.
            gateway.ns.ip_batch(&format!(
                "route add 2001:db8:9::/48 via 2001:db8:9::254 dev {LAN}\n\
                 route add 10.9.0.0/16 via 10.9.0.254 dev {LAN}\n"
            ))?;
        }
        l2ha_lab::plain_link(&router, &behind, "leg")?;
        router
            .ns
            .ip_batch("addr add 2001:db8:9:1::1/64 dev leg\n")?;
        behind.ns.ip_batch(
            "addr add 2001:db8:9:1::100/64 dev leg\nroute add default via 2001:db8:9:1::1\n",
        )?;
        plain.ns.ip_batch(&format!(
            "route add {WEB} via 2001:db8:9::1\nroute add {WEB4} via 10.9.0.1\n"
        ))?;

        let node = |host| ClusterNode::new(host);
        let gateway = |host| ClusterNode::with(host, PREFIXES);
        let services: String = [("web", WEB), ("web4", WEB4)]
            .map(|(name, address)| {
                format!("[[services]]\nname = \"{name}\"\naddress = \"{address}\"\n")
            })
            .concat();
        let file = cluster_file(
            lab,
            &[node(server_1), node(server_2)],
            &[],
            &[gateway(gateway_1), gateway(gateway_2)],
            &services,
        )?;
        let mut echoes = Vec::new();
        for host in &hosts {
            let mut config = NodeConfig::new(lab, host)?;
            config.join_cluster(&file);
            Daemon::start(lab, config)?;
        }
        for host in [server_1, server_2] {
            echoes.push(Echo::start(
                &host.ns,
                WEB.parse::<std::net::Ipv6Addr>()?,
                &host.name,
            )?);
            echoes.push(Echo::start(
                &host.ns,
                WEB4.parse::<std::net::Ipv4Addr>()?,
                &host.name,
            )?);
        }
        bird(lab, gateway_1)?;
        bird(lab, gateway_2)?;
        frr(lab, &router)?;
        // Both routers of the network lead there before anything dies.
        wait_ways(&router)?;
        let asking = [
            Asking {
                who: "by a route, IPv6",
                beats: Beats::start(&plain.ns, WEB.parse::<std::net::Ipv6Addr>()?)?,
            },
            Asking {
                who: "by a route, IPv4",
                beats: Beats::start(&plain.ns, WEB4.parse::<std::net::Ipv4Addr>()?)?,
            },
            Asking {
                who: "by FRR",
                beats: Beats::start(&behind.ns, WEB.parse::<std::net::Ipv6Addr>()?)?,
            },
        ];
        cost(lab, "all is well", &asking, Some("server-1"), || Ok(()))?;
        cost(lab, "server-1 dies", &asking, Some("server-2"), || {
            cloud.cut(server_1)
        })?;
        cost(lab, "server-1 is back", &asking, Some("server-1"), || {
            cloud.heal(server_1)
        })?;
        // From here on each gateway watches the other one.
        let _watchers = [
            watch(lab, gateway_1, (1, 2), &plain)?,
            watch(lab, gateway_2, (2, 1), &plain)?,
        ];
        cost(lab, "gateway-1 dies", &asking, Some("server-1"), || {
            dead(&cloud, &lan, gateway_1, true)
        })?;
        let route = plain.ns.run(["ip", "-6", "route", "show", WEB])?;
        ensure!(route.contains("2001:db8:9::2"), "not moved: {route}");
        cost(lab, "gateway-1 is back", &asking, Some("server-1"), || {
            dead(&cloud, &lan, gateway_1, false)
        })?;
        both_ways(server_1)?;
        cost(
            lab,
            "gateway-1, which answers alone come through, dies",
            &asking,
            Some("server-1"),
            || dead(&cloud, &lan, gateway_1, true),
        )?;
        dead(&cloud, &lan, gateway_1, false)?;
        both_ways(server_1)?;
        wait_ways(&router)?;
        // Of the two, each host behind FRR has one.
        cost(lab, "gateway-2 dies", &asking, Some("server-1"), || {
            dead(&cloud, &lan, gateway_2, true)
        })?;
        let route = plain.ns.run(["ip", "-6", "route", "show", WEB])?;
        ensure!(route.contains("2001:db8:9::1 "), "not moved back: {route}");
        Ok(())
    })
}

/// A server's answers go by both gateways.
fn both_ways(server: &Host) -> Result<()> {
    wait_for("answers by both gateways", PATIENCE, || {
        let route = server
            .ns
            .run(["ip", "-6", "route", "show", "2001:db8:9::/48"])?;
        let both = ["l2-gateway-1", "l2-gateway-2"].map(|it| route.contains(it));
        ensure!(both == [true, true], "{route}");
        Ok(Some(()))
    })
}

/// The network's router has both gateways on its ways to the service.
fn wait_ways(router: &Host) -> Result<()> {
    wait_for("two ways to the service at the router", PATIENCE, || {
        let routes = router.ns.run(["ip", "-6", "route", "show", WEB])?;
        ensure!(routes.matches("via fe80:").count() == 2, "{routes}");
        Ok(Some(()))
    })
}
