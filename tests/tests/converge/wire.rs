//! Every packet of a whole story, in every form a pseudowire can have, judged by tshark.

use std::time::Duration;

use anyhow::{Result, ensure};
use l2ha_lab::{Capture, Framing, Lab, Link, Outer, ProbeOptions, Trio, TrioOptions, check};

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn udp_over_ipv4() -> Result<()> {
    story("wire-udp4", Link::default())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn udp_over_ipv6() -> Result<()> {
    let link = Link {
        v6: true,
        ..Link::default()
    };
    story("wire-udp6", link)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn protocol_115_over_ipv4() -> Result<()> {
    let link = Link {
        outer: Outer::Ip,
        ..Link::default()
    };
    story("wire-ip4", link)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn protocol_115_over_ipv6() -> Result<()> {
    let link = Link {
        outer: Outer::Ip,
        v6: true,
        ..Link::default()
    };
    story("wire-ip6", link)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn no_cookie_and_a_sublayer() -> Result<()> {
    let link = Link {
        cookies: (0, 0),
        sublayer: true,
        ..Link::default()
    };
    story("wire-sublayer", link)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_cookie_of_four_bytes_one_way_and_eight_the_other() -> Result<()> {
    let link = Link {
        cookies: (4, 8),
        ..Link::default()
    };
    story("wire-cookies", link)
}

/// Slower than usual: every packet is dissected afterwards.
const PACE: ProbeOptions = ProbeOptions {
    every: Duration::from_millis(20),
    timeout: Duration::from_millis(100),
    scope: 0,
};

/// Neighbours, HTTP, a cut, a heal and a clean stop; then the capture is judged.
fn story(name: &str, link: Link) -> Result<()> {
    Lab::run(name, |lab| {
        let options = TrioOptions {
            link,
            // All tunnels then lead from a server to the client, and a direction of packets has
            // one length of cookie.
            mesh: false,
            ..TrioOptions::default()
        };
        let trio = Trio::start(lab, options)?;
        let capture = Capture::cloud(lab, &trio.cloud, "", "wire")?;
        trio.wait_full()?;
        let probe = trio.probe_with(PACE)?;
        let cut = trio.silent_cut(&probe)?;
        trio.heal(&probe)?;
        trio.wait_full()?;
        let stop = trio.clean_stop(&probe)?;
        drop(probe);
        lab.say(format_args!(
            "cut {:.1?}, clean stop {:.1?}",
            cut.gap, stop.gap
        ));

        let file = capture.finish()?;
        let client = &trio.client.host;
        let address = if link.v6 {
            format!("ipv6.src == {}", client.v6)
        } else {
            format!("ip.src == {}", client.v4)
        };
        let (to_server, to_client) = link.cookies;
        for (direction, filter, cookie) in [
            ("to the servers", address.clone(), to_server),
            ("to the client", format!("!({address})"), to_client),
        ] {
            let framing = Framing {
                cookie,
                sublayer: link.sublayer,
                ..Framing::default()
            };
            let seen = check(file, framing, &format!("l2tp && {filter}"))?;
            lab.say(format_args!(
                "{direction}: {} frames: {:?}",
                seen.frames, seen.protocols
            ));
            ensure!(seen.ospf > 10, "{:?}", seen.stacks);
            ensure!(seen.count("tcp") > 20, "{:?}", seen.stacks);
            ensure!(seen.count("http") > 10, "{:?}", seen.stacks);
            let udp = seen.count("udp");
            match link.outer {
                Outer::Udp => ensure!(udp == seen.frames, "{:?}", seen.stacks),
                Outer::Ip => ensure!(udp == 0, "{:?}", seen.stacks),
            }
        }
        Ok(())
    })
}
