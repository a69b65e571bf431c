//! Attaching, taking over what an earlier daemon left, and noticing what somebody else took away.

mod kit;

use std::{
    io::{Read as _, Seek as _},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use dataplane::{AttachMode, DataPlane, Hook, LoadOptions};
use kit::{
    Result,
    net::{HIDDEN, Pair, Side, UNDERLAY, VISIBLE, Wire, set_up},
};
use serde_json::Value;

/// A wire with this mode.
fn wire(mode: AttachMode) -> Wire {
    Wire {
        mode,
        ..Wire::default()
    }
}

fn ping(pair: &Pair) -> Result {
    let (status, text) =
        pair.a
            .ns
            .try_run(["ping", "-c", "2", "-i", "0.05", "-W", "1", "192.0.2.2"])?;
    ensure!(status.success(), "{}: {text}", pair.state()?);
    Ok(())
}

/// The program ids of l2ha's filters on a hook.
fn filters(side: &Side, interface: &str, hook: &str) -> Result<Vec<u64>> {
    let text = side
        .ns
        .run(["tc", "-j", "filter", "show", "dev", interface, hook])?;
    let filters: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    Ok(filters
        .as_array()
        .into_iter()
        .flatten()
        .map(|filter| &filter["options"])
        .filter(|options| {
            options["bpf_name"]
                .as_str()
                .is_some_and(|name| name.starts_with("l2ha_"))
        })
        .filter_map(|options| options["prog"]["id"].as_u64())
        .collect())
}

/// The program id of native XDP on the underlay.
fn xdp(side: &Side) -> Result<Option<u64>> {
    let links = side.ns.ip_json(&["link", "show", "dev", UNDERLAY])?;
    let xdp = &links[0]["xdp"];
    ensure!(
        xdp.is_null() || xdp["mode"] == 1,
        "XDP, but not native: {xdp}"
    );
    Ok(xdp["prog"]["id"].as_u64())
}

/// A second daemon: loads, and is told everything anew.
fn restart(side: &mut Side, mode: AttachMode, pins: &std::path::Path) -> Result {
    let mut plane = DataPlane::load(pins)?;
    let session = side.session.clone();
    side.attached = set_up(&side.ns, &mut plane, &session, mode)?;
    side.plane = plane;
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_restart_takes_over_and_loses_nothing() -> Result {
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        let mut pair = Pair::new(wire(mode))?;
        ensure!(!pair.b.attached.adopted);
        let pins = pair.pins.dir("b");
        ping(&pair)?;
        let mut said = tempfile::tempfile()?;
        let mut flood = Command::new("ping");
        flood
            .args(["-q", "-i", "0.002", "-c", "1500", "-W", "1", "192.0.2.2"])
            .stdout(said.try_clone()?);
        let flood = pair.a.ns.spawn(flood)?;
        let mut ids = Vec::new();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(200));
            restart(&mut pair.b, mode, &pins)?;
            ensure!(pair.b.attached.adopted, "{mode:?}: not taken over");
            ids.push((xdp(&pair.b)?, filters(&pair.b, UNDERLAY, "ingress")?));
            ensure!(filters(&pair.b, VISIBLE, "egress")?.len() == 1);
            ensure!(filters(&pair.b, HIDDEN, "ingress")?.len() == 1);
        }
        match mode {
            AttachMode::Tc => ensure!(ids.iter().all(|(xdp, tc)| xdp.is_none() && tc.len() == 1)),
            // What XDP has stripped is taken by a filter.
            _ => ensure!(ids.iter().all(|(xdp, tc)| xdp.is_some() && tc.len() == 1)),
        }
        ids.dedup();
        ensure!(
            ids.len() == 5,
            "{mode:?}: not each start's own program: {ids:?}"
        );
        flood.wait(Duration::from_secs(30))?;
        let mut text = String::new();
        said.rewind()?;
        said.read_to_string(&mut text)?;
        ensure!(text.contains(" 0% packet loss"), "{mode:?}: {text}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_programs_outlive_the_process() -> Result {
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        let mut pair = Pair::new(wire(mode))?;
        let pins = pair.pins.dir("b");
        // Dropping is all that the kernel sees of a killed process.
        let other = DataPlane::load(&pair.pins.dir("other"))?;
        drop(std::mem::replace(&mut pair.b.plane, other));
        let (status, text) = pair
            .a
            .ns
            .try_run(["ping", "-c", "2", "-i", "0.05", "192.0.2.2"])?;
        ensure!(status.success(), "{mode:?}: {text}");
        restart(&mut pair.b, mode, &pins)?;
        ensure!(pair.b.attached.adopted);
        ping(&pair)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_other_hook_is_left_when_the_new_one_works() -> Result {
    let mut pair = Pair::new(wire(AttachMode::Xdp))?;
    let pins = pair.pins.dir("b");
    for (mode, hook) in [
        (AttachMode::Tc, Hook::Tc),
        (AttachMode::Xdp, Hook::Xdp),
        (AttachMode::Tc, Hook::Tc),
        (AttachMode::Auto, Hook::Xdp),
    ] {
        restart(&mut pair.b, mode, &pins)?;
        ensure!(pair.b.attached.hook == hook && pair.b.attached.why_not_xdp.is_none());
        ensure!(xdp(&pair.b)?.is_some() == (hook == Hook::Xdp));
        ensure!(filters(&pair.b, UNDERLAY, "ingress")?.len() == 1);
        ping(&pair)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn somebody_elses_xdp_program_is_left_alone() -> Result {
    let pair = Pair::new(wire(AttachMode::Xdp))?;
    let index = pair.b.session.underlay_ifindex;
    // Another node's daemon has the underlay.
    let mut other = DataPlane::load(&pair.pins.dir("other"))?;
    let refused = pair
        .b
        .ns
        .enter(|| other.attach_underlay(index, UNDERLAY, AttachMode::Xdp))?;
    let text = format!("{:#}", refused.err().context("it was attached")?);
    let id = xdp(&pair.b)?.context("it is gone")?;
    ensure!(
        text.contains("l2ha_xdp")
            && text.contains(&format!("id {id}"))
            && text.contains("mode = \"tc\""),
        "{text}"
    );
    ensure!(pair.b.ns.enter(|| pair.b.plane.underlay_attached())??);
    ping(&pair)?;

    let attached = pair
        .b
        .ns
        .enter(|| other.attach_underlay(index, UNDERLAY, AttachMode::Auto))??;
    ensure!(attached.hook == Hook::Tc);
    ensure!(
        attached
            .why_not_xdp
            .is_some_and(|why| why.contains("l2ha_xdp"))
    );
    ensure!(xdp(&pair.b)? == Some(id));
    pair.b.ns.enter(|| other.unload())??;
    ensure!(filters(&pair.b, UNDERLAY, "ingress")?.is_empty());
    ensure!(xdp(&pair.b)? == Some(id));
    ping(&pair)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_was_taken_away_is_noticed_and_put_back() -> Result {
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        let mut pair = Pair::new(wire(mode))?;
        let side = &mut pair.b;
        let there = |side: &Side| -> Result<(bool, bool)> {
            side.ns.enter(|| {
                Ok((
                    side.plane.underlay_attached()?,
                    side.plane.session_interface_attached(VISIBLE, HIDDEN)?,
                ))
            })?
        };
        ensure!(there(side)? == (true, true));
        // Somebody removes the filters and the qdiscs they hang on.
        for interface in [VISIBLE, HIDDEN] {
            side.ns
                .run(["tc", "qdisc", "del", "dev", interface, "clsact"])?;
            ensure!(there(side)? == (true, false), "{interface}");
            side.ns
                .enter(|| side.plane.attach_session_interface(VISIBLE, HIDDEN))??;
            ensure!(there(side)? == (true, true));
        }
        match mode {
            // By force, as an administrator would: `bpftool link detach`.
            AttachMode::Xdp => {
                let pin = pair.pins.dir("b").join("xdp");
                let pin = pin.to_str().context("a path")?;
                side.ns.run(["bpftool", "link", "detach", "pinned", pin])?;
            }
            _ => {
                side.ns
                    .run(["tc", "filter", "del", "dev", UNDERLAY, "ingress"])?;
            }
        }
        ensure!(there(side)? == (false, true));
        let attached = side.ns.enter(|| {
            side.plane
                .attach_underlay(side.session.underlay_ifindex, UNDERLAY, mode)
        })??;
        ensure!(!attached.adopted);
        ensure!(there(side)? == (true, true));
        ping(&pair)?;
        // An interface that is gone has nothing attached, and that is no error.
        pair.b.ns.run(["ip", "link", "del", UNDERLAY])?;
        pair.b.ns.run(["ip", "link", "del", VISIBLE])?;
        ensure!(there(&pair.b)? == (false, false));
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn attaching_twice_changes_nothing() -> Result {
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        let mut pair = Pair::new(wire(mode))?;
        let before = (xdp(&pair.b)?, filters(&pair.b, UNDERLAY, "ingress")?);
        let session = pair.b.session.clone();
        let attached = set_up(&pair.b.ns, &mut pair.b.plane, &session, mode)?;
        ensure!(attached.adopted);
        ensure!((xdp(&pair.b)?, filters(&pair.b, UNDERLAY, "ingress")?) == before);
        ensure!(pair.b.ns.enter(|| pair.b.plane.underlay_attached())??);
        ping(&pair)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn unload_leaves_nothing() -> Result {
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        let mut pair = Pair::new(wire(mode))?;
        let pins = pair.pins.dir("b");
        let side = &mut pair.b;
        side.ns.enter(|| side.plane.unload())??;
        ensure!(xdp(side)?.is_none());
        for (interface, hook) in [
            (UNDERLAY, "ingress"),
            (VISIBLE, "egress"),
            (HIDDEN, "ingress"),
        ] {
            ensure!(
                filters(side, interface, hook)?.is_empty(),
                "{interface} {hook}"
            );
        }
        ensure!(!pins.exists(), "{} is still there", pins.display());
        // Twice does no harm.
        side.ns.enter(|| side.plane.unload())??;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_place_that_is_no_bpffs_is_refused() -> Result {
    let folder = tempfile::tempdir()?;
    let refused = DataPlane::load(&folder.path().join("l2ha/node"));
    let text = format!("{:#}", refused.err().context("it was taken")?);
    ensure!(text.contains("mount -t bpf"), "{text}");
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn refused_packets_can_be_logged() -> Result {
    let pair = Pair::new(Wire::default())?;
    let log = kit::log::Log::start()?;
    let mut plane = DataPlane::load_with(&pair.pins.dir("log"), LoadOptions { log_refused: true })?;
    plane.set_endpoints(&[kit::net::endpoint(&pair.b.session)])?;
    let packet = kit::bench::Form {
        session: pair.b.session.clone(),
        cookies: (b"\x01\x02\x03\x04\x05\x06\x07\x08", b""),
    }
    .received(&kit::bench::frame(0x0800, 100))
    .bytes();
    for program in kit::bench::DECAPS {
        let trial = dataplane::trial::Trial {
            packet: &packet,
            ..Default::default()
        };
        plane.try_program(program, trial)?;
    }
    // Dropping it waits for the last record.
    drop(plane);
    let text = log.text();
    let line = format!("refused reason=\"unknown_session\" length={}", packet.len());
    ensure!(
        text.matches(&line).count() == 2,
        "{line} is not twice in: {text}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_verifier_is_far_from_its_limit() -> Result {
    let pins = kit::Pins::new()?;
    let mut plane = DataPlane::load(&pins.dir("cost"))?;
    for (program, count) in plane.verified_instructions()? {
        // Read by the scenario that runs this in other kernels.
        println!("verifier: {program} {count}");
        ensure!(count < 200_000, "{program}: {count} instructions");
    }
    Ok(())
}
