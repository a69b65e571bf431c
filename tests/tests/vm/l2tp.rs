//! The Linux kernel's own L2TPv3 at the other end, in every form, all of them at once over one NIC:
//! ARP, neighbour discovery, full frames, and data over TCP compared by SHA-256.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context as _, Result};
use l2ha_lab::{
    Cloud, CloudOptions, Daemon, Host, Lab, Link, NodeConfig, Outer, TunnelConfig,
    vm::{Data, Pseudowire, Vm, join_vm},
};

/// Bytes each way over IPv4 inside, for a form of UDP and one of protocol 115.
const LARGE: usize = 100_000_000;
/// Over IPv6 inside, and for the other forms.
const SMALL: usize = 5_000_000;
/// In the gate, whatever the form.
const LITTLE: usize = 2_000_000;

/// What the packets of a tunnel look like, with a name for people.
fn forms() -> Vec<(String, Link)> {
    let mut links = Vec::new();
    for outer in [Outer::Udp, Outer::Ip] {
        for v6 in [false, true] {
            for cookie in [0, 4, 8] {
                for sublayer in [false, true] {
                    links.push(Link {
                        outer,
                        v6,
                        cookies: (cookie, cookie),
                        sublayer,
                        ..Link::default()
                    });
                }
            }
        }
        links.push(Link {
            outer,
            cookies: (4, 8),
            ..Link::default()
        });
    }
    links
        .into_iter()
        .map(|link| {
            let outer = match link.outer {
                Outer::Udp => "udp",
                Outer::Ip => "ip",
            };
            let family = if link.v6 { 6 } else { 4 };
            let sublayer = if link.sublayer { "default" } else { "none" };
            let (receive, send) = link.cookies;
            let numbered = if is_numbered(link) { ", numbered" } else { "" };
            (
                format!("{outer}{family}, cookies {receive}/{send}, sublayer {sublayer}{numbered}"),
                link,
            )
        })
        .collect()
}

/// Packets of these carry sequence numbers in both directions.
fn is_numbered(link: Link) -> bool {
    link.sublayer && link.cookies.0 != 0
}

/// The gate's choice of them: every encapsulation, cookie length, sublayer and numbering.
const CHOSEN: [&str; 8] = [
    "udp4, cookies 0/0, sublayer none",
    "udp4, cookies 4/8, sublayer none",
    "udp4, cookies 8/8, sublayer default, numbered",
    "udp6, cookies 4/4, sublayer default, numbered",
    "ip4, cookies 4/4, sublayer none",
    "ip4, cookies 8/8, sublayer default, numbered",
    "ip6, cookies 0/0, sublayer default",
    "ip6, cookies 8/8, sublayer none",
];

#[test]
fn the_chosen_forms_have_everything() {
    let mut every: BTreeSet<String> = BTreeSet::new();
    let mut chosen = BTreeSet::new();
    for (name, link) in forms() {
        let what = [
            format!("{:?} IPv6 {}", link.outer, link.v6),
            format!("received cookies of {}", link.cookies.0),
            format!("sent cookies of {}", link.cookies.1),
            format!("sublayer {}, numbered {}", link.sublayer, is_numbered(link)),
        ];
        every.extend(what.clone());
        if CHOSEN.contains(&name.as_str()) {
            chosen.extend(what);
        }
    }
    assert_eq!(chosen, every);
}

/// Those of [`CHOSEN`], with little data.
pub(crate) fn chosen_forms(lab: &Lab, cloud: &Arc<Cloud>, vm: &Arc<Vm>) -> Result<()> {
    let mut chosen = forms();
    chosen.retain(|(name, _)| CHOSEN.contains(&name.as_str()));
    ensure!(chosen.len() == CHOSEN.len(), "not all of them exist");
    let host = lab.host(cloud, "l2tp")?;
    cross(lab, &host, vm, &chosen, (LITTLE, LITTLE))
}

#[test]
#[ignore = "needs root: run by cargo xtask test --deep"]
fn deep_every_form_carries_everything() -> Result<()> {
    Lab::run("vm-l2tp-deep", |lab| {
        let options = CloudOptions {
            carries_l2tp: true,
            ..CloudOptions::default()
        };
        let (cloud, hosts) = lab.cloud(options, &["node"])?;
        let vm = Vm::boot(lab, &cloud, "vm", 200)?;
        cross(lab, &hosts[0], &vm, &forms(), (LARGE, SMALL))
    })
}

/// Sends data through all of these tunnels, which are there at once; all that fail are told.
fn cross(
    lab: &Lab,
    host: &Arc<Host>,
    vm: &Vm,
    forms: &[(String, Link)],
    (large, small): (usize, usize),
) -> Result<()> {
    let mut config = NodeConfig::tunnels_only(lab, host)?;
    let mut ends = Vec::new();
    for (number, (name, link)) in (1..).zip(forms) {
        let mut end = join_vm(&mut config, vm, number, *link)?;
        if is_numbered(*link) {
            end.sequenced = true;
            let tunnel = config.tunnels.last_mut().context("the one just made")?;
            tunnel.more.push("sequence = \"both\"".to_owned());
        }
        end.add(vm).with_context(|| name.clone())?;
        ends.push(end);
    }
    let tunnels = config.tunnels.clone();
    let daemon = Daemon::start(lab, config)?;
    lab.say(format_args!(
        "{} tunnels, {}",
        ends.len(),
        daemon.status()?["underlay"]["hook"]
    ));

    let (large, small) = (Data::random(large)?, Data::random(small)?);
    let mut faults = Vec::new();
    for (((name, link), tunnel), end) in forms.iter().zip(&tunnels).zip(&ends) {
        let wire = Wire {
            host,
            tunnel,
            vm,
            end,
        };
        let is_large = !link.v6 && link.cookies == (8, 8) && link.sublayer;
        let data = if is_large { &large } else { &small };
        match wire.frames(*link).and_then(|()| wire.data(data, &small)) {
            Ok(text) => lab.say(format_args!("{name}: {text}")),
            Err(error) => {
                lab.say(format_args!("{name}: {error:#}"));
                faults.push(format!("{name}: {error:#}"));
            }
        }
    }
    ensure!(
        faults.is_empty(),
        "not everything crosses:\n{}",
        faults.join("\n")
    );
    nothing_refused(&daemon, vm, &ends)?;
    daemon.stop()
}

/// A tunnel, seen from both ends.
struct Wire<'a> {
    host: &'a Arc<Host>,
    tunnel: &'a TunnelConfig,
    vm: &'a Vm,
    end: &'a Pseudowire,
}

impl Wire<'_> {
    /// Small frames and full ones, both ways, over ARP and neighbour discovery.
    fn frames(&self, link: Link) -> Result<()> {
        let (mine, theirs) = (self.mtu()?, self.vm_mtu()?);
        if link.cookies.0 == link.cookies.1 {
            ensure!(mine == theirs, "MTU {mine} here and {theirs} there");
        } else {
            // Each end may have to send the longer cookie's answer; ours knows both.
            ensure!(mine <= theirs, "MTU {mine} here and {theirs} there");
        }
        let v4 = |end: &[String]| inner(end, false);
        let link_local = (
            self.link_local(&self.host.ns.run(self.addr())?)?,
            self.link_local(&self.vm.run(&self.addr().join(" "))?)?,
        );
        // Headers of IP and ICMP.
        let full = mine - 28;
        // Of an inner IPv4 fragment, the kernel's l2tp_ip6 makes two outer fragments of at most 1280
        // bytes, whatever the MTU: it reads what IPv4 noted about the inner packet as IPv6's own.
        // Outer fragments are not ours to put together.
        let sizes = [Some(56), Some(full), (!link.v6).then_some(4000)];
        for size in sizes.into_iter().flatten() {
            self.ping(&v4(&self.end.addresses), size)?;
            self.vm_ping(&v4(&self.tunnel.addresses), size)?;
        }
        self.ping(&link_local.1, 56)?;
        self.vm_ping(&link_local.0, 56)
    }

    fn ping(&self, address: &str, size: u64) -> Result<()> {
        let interface = &self.tunnel.interface;
        let size = size.to_string();
        self.host
            .ns
            .run([
                "busybox", "ping", "-c", "1", "-W", "5", "-s", &size, "-I", interface, address,
            ])
            .with_context(|| format!("{size} bytes from the node"))
            .map(drop)
    }

    fn vm_ping(&self, address: &str, size: u64) -> Result<()> {
        let interface = &self.end.interface;
        self.vm
            .run(&format!(
                "ping -c 1 -W 5 -s {size} -I {interface} {address}"
            ))
            .with_context(|| format!("{size} bytes from the machine"))
            .map(drop)
    }

    fn addr(&self) -> [&str; 7] {
        [
            "ip",
            "-6",
            "-br",
            "addr",
            "show",
            "dev",
            &self.tunnel.interface,
        ]
    }

    /// The link-local address in a line of `ip -br addr`.
    fn link_local(&self, line: &str) -> Result<String> {
        line.split_whitespace()
            .find(|word| word.starts_with("fe80:"))
            .and_then(|word| word.split('/').next())
            .map(str::to_owned)
            .with_context(|| format!("no link-local address in {line:?}"))
    }

    fn mtu(&self) -> Result<u64> {
        let links = self
            .host
            .ns
            .ip_json(&["link", "show", "dev", &self.tunnel.interface])?;
        links[0]["mtu"].as_u64().context("no mtu")
    }

    fn vm_mtu(&self) -> Result<u64> {
        let text = self
            .vm
            .run(&format!("cat /sys/class/net/{}/mtu", self.end.interface))?;
        Ok(text.trim().parse()?)
    }

    /// TCP both ways over IPv4 and over IPv6 inside.
    fn data(&self, v4: &Data, v6: &Data) -> Result<String> {
        let mut rates = Vec::new();
        for (data, over_v6) in [(v4, false), (v6, true)] {
            let here = inner(&self.tunnel.addresses, over_v6).parse()?;
            let there = inner(&self.end.addresses, over_v6).parse()?;
            let times = data.exchange((&self.host.ns, here), (self.vm, there))?;
            rates.push(format!(
                "{:.0} Mbit/s there, {:.0} back",
                data.rate(times.to_vm),
                data.rate(times.to_host)
            ));
        }
        Ok(format!("IPv4 {}; IPv6 {}", rates[0], rates[1]))
    }
}

/// The address of a family, without its prefix length.
fn inner(addresses: &[String], v6: bool) -> String {
    addresses
        .iter()
        .find(|address| address.contains(':') == v6)
        .and_then(|address| address.split('/').next())
        .unwrap_or_default()
        .to_owned()
}

/// Neither end has found fault with a packet of the other.
fn nothing_refused(daemon: &Daemon, vm: &Vm, ends: &[Pseudowire]) -> Result<()> {
    let status = daemon.status()?;
    let reasons = &status["dataplane"]["reasons"];
    let reasons = reasons.as_object().context("no dataplane.reasons")?;
    ensure!(reasons.contains_key("wrong_cookie"), "{reasons:?}");
    let counted: Vec<_> = reasons.iter().filter(|(_, count)| **count != 0).collect();
    ensure!(counted.is_empty(), "{counted:?}");
    for end in ends {
        let interface = &end.interface;
        let errors = vm.run(&format!(
            "cat /sys/class/net/{interface}/statistics/rx_errors"
        ))?;
        ensure!(errors.trim() == "0", "{interface}: rx_errors {errors}");
    }
    Ok(())
}
