//! A node is restarted, upgraded and given another cookie while packets flow: none is lost, none
//! overtakes another.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{Host, Lab, Pair, Seen, Stream, judged, reload};

/// Packets a second, unless [`RATE_OF`] says otherwise: what a busy machine of two cores can send, route
/// and receive.
const RATE: u64 = 100_000;
/// The environment variable with another rate.
const RATE_OF: &str = "L2HA_LAB_RATE";
/// A machine that pauses for so long may lose packets by itself.
const LIMIT: Duration = Duration::from_millis(100);
/// How long packets flow before and after what is done.
const PAUSE: Duration = Duration::from_millis(300);

/// What becomes of packets while something is done; and from when to when they flowed.
fn during(pair: &Pair, what: impl FnOnce() -> Result<()>) -> Result<(Seen, [Instant; 2])> {
    let (from, to) = (&pair.hosts[0].ns, &pair.hosts[1].ns);
    let rate = match std::env::var(RATE_OF) {
        Ok(text) => text.parse().context(RATE_OF)?,
        Err(_) => RATE,
    };
    let start = Instant::now();
    let stream = Stream::start(from, to, Pair::ADDRESSES[1].parse()?, rate)?;
    thread::sleep(PAUSE);
    what()?;
    thread::sleep(PAUSE);
    Ok((stream.finish()?, [start, Instant::now()]))
}

fn nothing_is_lost(
    lab: &Lab,
    pair: &Pair,
    name: &str,
    what: impl Fn() -> Result<()>,
) -> Result<()> {
    judged(lab, name, |step| {
        let (seen, [from, to]) = during(pair, &what)?;
        step.window(from, to, LIMIT);
        let Seen { sent, rate, .. } = seen;
        lab.say(format_args!(
            "{name}: {sent} packets at {rate} a second, {} lost, {} reordered",
            seen.lost(),
            seen.reordered
        ));
        ensure!(sent > RATE / 10, "hardly anything was sent: {seen:?}");
        ensure!(seen.is_whole(), "{seen:?}");
        Ok(())
    })
}

fn story(lab: &Lab, mode: &str) -> Result<()> {
    let pair = Pair::start(lab, mode)?;

    // That losses are seen at all.
    let (seen, _) = during(&pair, || {
        pair.hosts[1]
            .ns
            .run(["ip", "link", "set", "l2-sender", "down"])?;
        thread::sleep(Duration::from_millis(50));
        Ok(())
    })?;
    ensure!(
        seen.lost() > 0,
        "nothing was lost while the interface was down: {seen:?}"
    );
    lab.say(format_args!("a cut of 50 ms: {} lost", seen.lost()));
    pair.wait()?;

    let unharmed =
        |name: &str, what: &dyn Fn() -> Result<()>| nothing_is_lost(lab, &pair, name, what);
    unharmed("restart of the receiver", &|| Pair::restart(&pair.receiver))?;
    unharmed("restart of the sender", &|| Pair::restart(&pair.sender))?;
    let hook = pair.receiver.status()?["underlay"]["hook"].clone();
    ensure!(hook == mode, "now attached to {hook}");
    unharmed("upgrade of the receiver", &|| Pair::upgrade(&pair.receiver))?;
    unharmed("upgrade of the sender", &|| Pair::upgrade(&pair.sender))?;
    unharmed("a new cookie", &|| {
        pair.rotate_cookie(lab, |new| {
            reload(&pair.sender, |tunnel| tunnel.send_cookie = Some(new.into()))
        })
    })?;

    // Moving a port loses what is on its way between the two reloads, but no interface.
    let index = |host: &Host| -> Result<serde_json::Value> {
        Ok(host.ns.ip_json(&["link", "show", "dev", "l2-sender"])?[0]["ifindex"].clone())
    };
    let before = index(&pair.hosts[1])?;
    reload(&pair.receiver, |tunnel| tunnel.ports = (1800, 1801))?;
    reload(&pair.sender, |tunnel| tunnel.ports = (1801, 1800))?;
    unharmed("after another port", &|| Ok(()))?;
    ensure!(
        index(&pair.hosts[1])? == before,
        "the interface was made anew"
    );
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nothing_is_lost_in_xdp_mode() -> Result<()> {
    Lab::run("hitless-xdp", |lab| story(lab, "xdp"))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nothing_is_lost_in_tc_mode() -> Result<()> {
    Lab::run("hitless-tc", |lab| story(lab, "tc"))
}
