//! The real routing peers among themselves, without us: what the lab says of them is true.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use l2ha_lab::{
    Bird, Capture, CloudOptions, Framing, Frr, Lab, OspfLink, PATIENCE, RouterConfig, check,
    differences, plain_link, wait_for,
};

const ANYCAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_and_bird_become_full_and_hold_one_database() -> Result<()> {
    Lab::run("peers", |lab| {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["frr", "bird"])?;
        let [a, b] = &hosts[..] else { unreachable!() };
        plain_link(a, b, "direct")?;
        let capture = Capture::start(lab, &a.ns, "direct", "ip6", "direct")?;
        let links = vec![OspfLink::new("direct", 10)];
        let mut config = RouterConfig::new(Ipv4Addr::new(10, 0, 0, 1), links.clone());
        config.stubs = vec![ANYCAST];
        a.ns.run(["ip", "addr", "add", &format!("{ANYCAST}/128"), "dev", "lo"])?;
        let frr = Frr::start(lab, a, &config)?;
        let config = RouterConfig::new(Ipv4Addr::new(10, 0, 0, 2), links);
        let bird = Bird::start(lab, b, &config)?;
        wait_for("Full", PATIENCE, || {
            let full = [frr.full_neighbours()?, bird.full_neighbours()?];
            let ids = [2, 1].map(|number| vec![Ipv4Addr::new(10, 0, 0, number)]);
            ensure!(full == ids, "Full are {full:?}");
            Ok(Some(()))
        })?;
        lab.say("both Full");
        wait_for("one database", PATIENCE, || {
            let (left, right) = (frr.database()?, bird.database()?);
            ensure!(left.len() >= 5, "{left:x?}");
            let different = differences(&left, &right);
            ensure!(different.is_empty(), "{different:#?}");
            Ok(Some(()))
        })?;
        wait_for("the route", PATIENCE, || {
            let routes = b.ns.run(["ip", "-6", "route"])?;
            ensure!(routes.contains(&format!("{ANYCAST} ")), "{routes}");
            Ok(Some(()))
        })?;
        frr.stop()?;
        bird.stop()?;
        let seen = check(capture.finish()?, Framing::default(), "")?;
        lab.say(format_args!("captured {:?}", seen.protocols));
        ensure!(seen.ospf > 10, "{:?}", seen.stacks);
        Ok(())
    })
}
