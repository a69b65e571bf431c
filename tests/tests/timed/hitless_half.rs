//! The receiver is restarted, upgraded and given another cookie while it is half as busy as it can be, or less
//! where the machine loses frames by itself then: none is lost, none overtakes another. Frames are injected as a
//! driver would, on the processor that receives them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use l2ha_lab::{
    Lab, Listener, Pair, Seen, UNDERLAY,
    frame::{ethernet, ipv4, l2tp_udp, udp},
    inject::{Fields, Paced, stand_back},
    is_deep, judged, read_cookie, reload, stay_on_last_core,
};

/// Frames by which the capacity is measured.
const FRAMES: u32 = 300_000;
/// How often a thing is tried, as the best counts: what else the machine does takes away from it.
const TRIES: u32 = 3;
/// How long frames flow before and after what is done.
const PAUSE: Duration = Duration::from_millis(300);
/// A machine that pauses for so long may lose frames by itself: what the queues on the way hold.
const LIMIT: Duration = Duration::from_millis(20);
/// What is done takes less.
const LONGEST: Duration = Duration::from_secs(20);

/// Frames for the receiver of a pair.
struct Frames<'a> {
    pair: &'a Pair,
    paced: Paced,
    listener: Listener,
}

impl<'a> Frames<'a> {
    fn new(pair: &'a Pair) -> Result<Self> {
        const UDP: u8 = 17;
        let [sender, receiver] = [0, 1].map(|number| &pair.hosts[number]);
        let router = pair.cloud.router();
        let port = receiver.port();
        let tunnel = &pair.receiver.config().tunnels[0];
        let listener = Listener::start(&receiver.ns, Pair::ADDRESSES_V4[1].parse()?)?;
        let addresses = [
            Pair::ADDRESSES_V4[0].parse()?,
            Pair::ADDRESSES_V4[1].parse()?,
        ];
        let datagram = udp([4000, listener.target().port()], &[0; 8]);
        let virtual_macs = [
            sender.ns.mac("l2-receiver")?,
            receiver.ns.mac(&tunnel.interface)?,
        ];
        let inner = ethernet(virtual_macs, 0x0800, &ipv4(addresses, UDP, &datagram));
        let message = l2tp_udp(tunnel.session_id, &[0; 8], &inner);
        let packet = ipv4(
            [sender.v4, receiver.v4],
            UDP,
            &udp([tunnel.ports.1, tunnel.ports.0], &message),
        );
        let macs = [router.mac(&port)?, receiver.ns.mac(UNDERLAY)?];
        let frame = ethernet(macs, 0x0800, &packet);
        let fields = Fields {
            number: frame.len() - 8,
            cookie: frame.len() - inner.len() - 8,
        };
        let ifindex = router.ifindex(&port)?.context("no link to the receiver")?;
        Ok(Self {
            pair,
            paced: Paced::new(&frame, ifindex, fields)?,
            listener,
        })
    }

    /// Sets the distance of frames, and the cookie to what the receiver expects.
    fn set(&self, distance: Duration) -> Result<()> {
        let config = self.pair.receiver.config();
        let cookie = read_cookie(config.tunnels[0].receive_cookie.as_ref())?;
        self.paced.set(distance, cookie)
    }

    /// Injects up to `count` on this processor.
    fn run(&self, count: u32) -> Result<u64> {
        self.pair.cloud.router().enter(|| {
            stay_on_last_core()?;
            stand_back()?;
            self.paced.run(count)
        })?
    }
}

/// How long one frame takes, from the driver to the socket.
fn cost(pair: &Pair) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        let mut frames = Frames::new(pair)?;
        frames.set(Duration::ZERO)?;
        let start = Instant::now();
        thread::scope(|scope| {
            let thread = scope.spawn(|| frames.run(FRAMES));
            thread.join().map_err(|_| anyhow!("panicked"))?
        })?;
        best = best.min(start.elapsed() / FRAMES);
        let seen = frames.listener.stop()?;
        ensure!(seen.received > 0, "nothing arrives");
    }
    Ok(best)
}

/// What becomes of frames at a distance, during what is done.
fn during(
    pair: &Pair,
    distance: Duration,
    what: impl FnOnce(&Frames<'_>) -> Result<()>,
) -> Result<Seen> {
    let mut frames = Frames::new(pair)?;
    frames.set(distance)?;
    let count = u32::try_from(LONGEST.as_nanos() / distance.as_nanos())?;
    let start = Instant::now();
    let (sent, lasted) = thread::scope(|scope| {
        let thread = scope.spawn(|| frames.run(count));
        thread::sleep(PAUSE);
        let done = what(&frames);
        thread::sleep(PAUSE);
        let lasted = start.elapsed();
        frames.paced.stop()?;
        let sent = thread.join().map_err(|_| anyhow!("panicked"))??;
        done?;
        anyhow::Ok((sent, lasted))
    })?;
    ensure!(lasted < LONGEST, "it took {lasted:?}");
    Ok(Seen {
        sent,
        rate: u64::try_from(u128::from(sent) * 1000 / lasted.as_millis())?,
        ..frames.listener.stop()?
    })
}

fn story(lab: &Lab, mode: &str) -> Result<()> {
    let pair = Pair::start(lab, mode)?;
    // A driver that takes frames without a socket buffer.
    pair.hosts[1]
        .ns
        .run(["ethtool", "-K", UNDERLAY, "gro", "on"])?;
    let cost = cost(&pair)?;
    lab.say(format_args!(
        "the receiver's capacity: {} a second",
        Duration::from_secs(1).as_nanos() / cost.as_nanos()
    ));
    let check = |name: &str, distance: Duration, what: &dyn Fn(&Frames<'_>) -> Result<()>| {
        let seen = during(&pair, distance, what).with_context(|| name.to_owned())?;
        lab.say(format_args!(
            "{name}: {} packets at {} a second, {} lost, {} reordered",
            seen.sent,
            seen.rate,
            seen.lost(),
            seen.reordered
        ));
        anyhow::Ok(seen)
    };

    // That losses are seen at all.
    let seen = check("a cut of 50 ms", cost * 2, &|_| {
        let link = |state: &str| {
            let words = ["ip", "link", "set", "l2-sender", state];
            pair.hosts[1].ns.run(words)
        };
        link("down")?;
        thread::sleep(Duration::from_millis(50));
        Ok(())
    })?;
    ensure!(seen.lost() > 0, "nothing was lost: {seen:?}");
    pair.wait()?;

    // A machine that pauses by itself loses frames of its own at half of what it takes.
    let mut distance = None;
    for share in [2, 2, 3, 4] {
        let seen = check("nothing done", cost * share, &|_| {
            thread::sleep(PAUSE);
            Ok(())
        })?;
        if seen.is_whole() {
            distance = Some(cost * share);
            break;
        }
    }
    let distance = distance.context("frames are lost while nothing is done")?;
    let unharmed = |name: &str, what: &dyn Fn(&Frames<'_>) -> Result<()>| {
        judged(lab, name, |step| {
            let from = Instant::now();
            let seen = check(name, distance, what)?;
            step.window(from, Instant::now(), LIMIT);
            ensure!(seen.is_whole(), "frames lost or reordered: {seen:?}");
            Ok(())
        })
    };
    unharmed("restart of the receiver", &|_| {
        Pair::restart(&pair.receiver)
    })?;
    unharmed("upgrade of the receiver", &|_| {
        Pair::upgrade(&pair.receiver)
    })?;
    unharmed("a new cookie", &|frames| {
        pair.rotate_cookie(lab, |new| {
            frames.set(distance)?;
            // Sends Hellos.
            reload(&pair.sender, |tunnel| tunnel.send_cookie = Some(new.into()))
        })
    })?;
    Ok(())
}

/// One mode after the other: each has the machine for itself.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn deep_nothing_is_lost_at_half_the_capacity() -> Result<()> {
    if !is_deep() {
        println!("played with L2HA_DEEP=1 only");
        return Ok(());
    }
    Lab::run("half-xdp", |lab| story(lab, "xdp"))?;
    Lab::run("half-tc", |lab| story(lab, "tc"))
}
