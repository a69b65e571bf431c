//! What those who watch see: refused packets with their reasons, captured packets of chosen
//! sessions, no byte of a cookie, and what is missing counted.

mod kit;

use std::{collections::HashSet, net::IpAddr, time::Duration};

use anyhow::{Context as _, ensure};
use dataplane::{
    trial::Program,
    watch::{Frame, Lost, RATE, Refused, Seen, Subscription, Wanted},
};
use kit::{
    Result,
    bench::{Bench, DECAPS, frame},
};
use l2ha_ebpf::reason::Reason;

/// How long a record may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long none must come.
const SILENCE: Duration = Duration::from_millis(100);

fn in_runtime<F: Future<Output = Result>>(run: F) -> Result {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run)
}

async fn next(subscription: &mut Subscription) -> Result<Seen> {
    tokio::time::timeout(PATIENCE, subscription.next())
        .await
        .context("nothing was shown")
}

async fn refused(subscription: &mut Subscription) -> Result<Refused> {
    match next(subscription).await? {
        Seen::Refused(refused) => Ok(refused),
        Seen::Frame(frame) => anyhow::bail!("not a refused packet: {frame:?}"),
    }
}

async fn captured(subscription: &mut Subscription) -> Result<Frame> {
    match next(subscription).await? {
        Seen::Frame(frame) => Ok(frame),
        Seen::Refused(refused) => anyhow::bail!("not captured: {refused:?}"),
    }
}

async fn nothing(subscription: &mut Subscription) -> Result {
    match tokio::time::timeout(SILENCE, subscription.next()).await {
        Ok(seen) => anyhow::bail!("one too many: {seen:?}"),
        Err(_) => Ok(()),
    }
}

fn all() -> Wanted {
    Wanted::Refused {
        reasons: Reason::ALL.into_iter().collect(),
    }
}

/// No two neighbouring bytes of the bench's cookies.
fn without_cookie(bytes: &[u8]) -> Result {
    let found = bytes
        .windows(2)
        .any(|pair| matches!(pair[0], 0xc1..=0xc7 | 0xd1..=0xd7) && pair[1] == pair[0] + 1);
    ensure!(!found, "cookie shown: {bytes:02x?}");
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_refused_packet_is_shown_with_its_reason() -> Result {
    in_runtime(async {
        let mut bench = Bench::new()?;
        let mut watching = bench.plane.watch().subscribe(all())?;
        for form in bench.forms.clone() {
            let good = form.received(&frame(0x0800, 100));
            let id = form.cookie_start() - 4;
            let mut unknown = good.clone();
            unknown.payload[id + 2] ^= 0x40;
            let mut wrong = good.clone();
            let mut cases = vec![("unknown_session", unknown.bytes())];
            if !form.cookies.0.is_empty() {
                wrong.payload[form.cookie_start()] ^= 0x10;
                cases.push(("wrong_cookie", wrong.bytes()));
            }
            for (reason, packet) in cases {
                for program in DECAPS {
                    bench.refuses(program, &packet, reason)?;
                    let shown = refused(&mut watching).await?;
                    let context = || format!("{program:?}, {reason}, {form:?}: {shown:?}");
                    ensure!(shown.reason.name() == reason, context());
                    ensure!(shown.length as usize == packet.len(), context());
                    ensure!(shown.bytes.len() == packet.len().min(128), context());
                    ensure!(shown.bytes[..14] == packet[..14], context());
                    let headers = shown.headers;
                    ensure!(headers.source == Some(form.session.remote), context());
                    ensure!(headers.destination == Some(form.session.local), context());
                    let ports = form
                        .is_udp()
                        .then_some(1702)
                        .zip(form.is_udp().then_some(1701));
                    let seen = headers.source_port.zip(headers.destination_port);
                    ensure!(seen == ports, context());
                    let known = headers.session_id == Some(form.session.session_id);
                    ensure!(known == (reason == "wrong_cookie"), context());
                    without_cookie(&shown.bytes).with_context(context)?;
                }
            }
        }
        ensure!(
            watching.lost()? == Lost::default(),
            "{:?}",
            watching.lost()?
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn only_what_is_asked_for_is_shown_and_never_more_than_the_rate() -> Result {
    in_runtime(async {
        let mut bench = Bench::new()?;
        let form = bench.forms[4].clone();
        let good = form.received(&frame(0x0800, 100));
        let mut packet = good.clone();
        packet.payload[form.cookie_start()] ^= 0x10;
        let wrong = packet.bytes();
        packet = good.clone();
        packet.source = match form.session.remote {
            IpAddr::V4(_) => "10.0.0.77".parse()?,
            IpAddr::V6(_) => "2001:db8::77".parse()?,
        };
        let stranger = packet.bytes();

        let mut watching = bench.plane.watch().subscribe(Wanted::Refused {
            reasons: HashSet::from([Reason::WrongSourceAddress]),
        })?;
        bench.refuses(Program::Xdp, &wrong, "wrong_cookie")?;
        bench.refuses(Program::Xdp, &stranger, "wrong_source_address")?;
        let shown = refused(&mut watching).await?;
        ensure!(shown.reason == Reason::WrongSourceAddress, "{shown:?}");
        nothing(&mut watching).await?;
        drop(watching);

        // Every packet is shown or counted as missing, on however many processors this runs.
        let mut watching = bench.plane.watch().subscribe(all())?;
        let sent = 4 * u64::from(RATE) * u64::try_from(aya::util::nr_cpus().unwrap_or(1))?;
        for _ in 0..sent {
            bench.run(Program::Xdp, &wrong)?;
        }
        let mut shown = 0;
        tokio::time::sleep(SILENCE).await;
        while watching.waiting().is_some() {
            shown += 1;
        }
        let lost = watching.lost()?;
        ensure!(lost.limited > 0 && shown > 0, "{shown} shown, {lost:?}");
        ensure!(
            shown + lost.limited + lost.ring + lost.queue == sent,
            "{shown} shown of {sent}, {lost:?}"
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn nobody_watches_nothing_is_written() -> Result {
    in_runtime(async {
        let mut bench = Bench::new()?;
        let form = bench.forms[4].clone();
        let good = form.received(&frame(0x0800, 100)).bytes();
        bench.run(Program::Xdp, &good)?;
        let mut bad = good.clone();
        let cookie = bad.len() - 101;
        bad[cookie] ^= 1;
        bench.refuses(Program::Xdp, &bad, "wrong_cookie")?;
        let mut refusals = bench.plane.watch().subscribe(all())?;
        let mut frames = bench
            .plane
            .watch()
            .subscribe(frames(None, true, true, false, 256))?;
        nothing(&mut refusals).await?;
        nothing(&mut frames).await
    })
}

fn frames(
    sessions: Option<&[u32]>,
    received: bool,
    sent: bool,
    outer: bool,
    snaplen: u32,
) -> Wanted {
    Wanted::Frames {
        sessions: sessions.map(|sessions| sessions.iter().copied().collect()),
        received,
        sent,
        outer,
        snaplen,
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn received_packets_are_captured_inside_and_outside() -> Result {
    in_runtime(async {
        let mut bench = Bench::new()?;
        let watch = bench.plane.watch().clone();
        let mut inner = watch.subscribe(frames(None, true, false, false, 256))?;
        let mut outer = watch.subscribe(frames(None, true, false, true, 2000))?;
        let mut sent = watch.subscribe(frames(None, false, true, false, 256))?;
        for form in bench.forms.clone() {
            for length in [42, 256, 1400] {
                let frame = frame(0x0806, length);
                let mut packet = form.received(&frame);
                let whole = packet.bytes();
                packet.padding = 46;
                for program in DECAPS {
                    bench.run(program, &packet.bytes())?;
                    let seen = captured(&mut inner).await?;
                    let context = || format!("{program:?}, {length}, {form:?}");
                    ensure!(seen.session_id == form.session.session_id, context());
                    ensure!(seen.received && seen.length as usize == length, context());
                    ensure!(seen.bytes == frame[..length.min(256)], context());
                    let seen = captured(&mut outer).await?;
                    ensure!(seen.length as usize == whole.len(), context());
                    let mut wanted = whole.clone();
                    let end = whole.len() - length;
                    let cookie = form.cookies.0.len();
                    let start = whole.len() - length - sublayer(&form.session) - cookie;
                    wanted[start..start + cookie].fill(0);
                    ensure!(end >= start + cookie, context());
                    // The checksum follows the cookie's bytes; the unit tests look at it.
                    let mut shown = seen.bytes.clone();
                    if form.is_udp() {
                        let checksum = if form.session.local.is_ipv4() { 40 } else { 60 };
                        wanted[checksum..checksum + 2].fill(0);
                        shown[checksum..checksum + 2].fill(0);
                    }
                    ensure!(
                        shown == wanted,
                        "{}: {shown:02x?}, not {wanted:02x?}",
                        context()
                    );
                }
            }
        }
        nothing(&mut sent).await
    })
}

fn sublayer(session: &dataplane::Session) -> usize {
    match session.sublayer {
        dataplane::Sublayer::None => 0,
        dataplane::Sublayer::Default => 4,
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn only_the_chosen_session_is_captured() -> Result {
    in_runtime(async {
        let mut bench = Bench::new()?;
        let forms = bench.forms.clone();
        let chosen = forms[5].session.session_id;
        let watch = bench.plane.watch().clone();
        let mut watching = watch.subscribe(frames(Some(&[chosen]), true, true, false, 64))?;
        for form in &forms {
            let packet = form.received(&frame(0x0806, 100)).bytes();
            bench.run(Program::Xdp, &packet)?;
        }
        let seen = captured(&mut watching).await?;
        ensure!(
            seen.session_id == chosen && seen.bytes.len() == 64,
            "{seen:?}"
        );
        nothing(&mut watching).await?;
        drop(watching);

        // Who comes after the other has gone starts anew, with another choice.
        let other = forms[7].session.session_id;
        let mut watching = watch.subscribe(frames(Some(&[other]), true, false, true, 256))?;
        for form in &forms {
            let packet = form.received(&frame(0x0806, 100)).bytes();
            bench.run(Program::Decap, &packet)?;
        }
        let seen = captured(&mut watching).await?;
        ensure!(seen.session_id == other, "{seen:?}");
        without_cookie(&seen.bytes)?;
        nothing(&mut watching).await
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn sent_packets_are_captured_inside_and_outside() -> Result {
    in_runtime(async {
        let mut bench = Bench::new()?;
        let watch = bench.plane.watch().clone();
        for form in bench.forms.clone() {
            // The interface is the last one's that was written to the maps.
            bench.plane.set_session(&form.session)?;
            let mut inner = watch.subscribe(frames(None, true, true, false, 128))?;
            let mut outer = watch.subscribe(frames(None, true, true, true, 256))?;
            let frame = frame(0x86dd, 120);
            let first = bench.run(Program::Encap, &frame)?;
            // Through the hidden end, where the visible one leaves it that.
            if first.verdict == dataplane::trial::Verdict::Pass {
                bench.run(Program::Hidden, &first.packet)?;
            }
            let seen = captured(&mut inner).await?;
            let context = || format!("{seen:02x?}, {form:?}");
            ensure!(!seen.received && seen.length == 120, context());
            ensure!(seen.session_id == form.session.session_id, context());
            ensure!(seen.bytes == frame, context());
            let seen = captured(&mut outer).await?;
            ensure!(seen.length as usize > 120 + 14 + 20, "{seen:?}");
            ensure!(seen.bytes.ends_with(&frame), "{seen:?}");
            without_cookie(&seen.bytes)?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_does_not_fit_is_counted() -> Result {
    in_runtime(async {
        let mut bench = Bench::new()?;
        let watch = bench.plane.watch().clone();
        let form = bench.forms[4].clone();

        // More than the ring buffer holds, before the reader has its turn.
        let large = form.received(&frame(0x0806, 1400)).bytes();
        let mut watching = watch.subscribe(frames(None, true, false, false, 2000))?;
        for _ in 0..3000 {
            bench.run(Program::Xdp, &large)?;
        }
        tokio::time::sleep(SILENCE).await;
        let lost = watching.lost()?;
        let mut shown = 0;
        while let Some(seen) = watching.waiting() {
            ensure!(matches!(seen, Seen::Frame(frame) if frame.length == 1400));
            shown += 1;
        }
        ensure!(shown > 0 && lost.ring > 0, "{shown} shown, {lost:?}");
        ensure!(
            shown + lost.ring + lost.queue == 3000,
            "{shown} shown, {lost:?}"
        );
        drop(watching);

        // More than a client's queue holds, while the reader keeps up; another client is not hurt.
        let small = form.received(&frame(0x0806, 60)).bytes();
        let slow = watch.subscribe(frames(None, true, false, false, 64))?;
        let mut quick = watch.subscribe(frames(None, true, false, false, 64))?;
        let mut shown = 0;
        for _ in 0..10 {
            for _ in 0..500 {
                bench.run(Program::Xdp, &small)?;
            }
            for _ in 0..500 {
                captured(&mut quick).await?;
                shown += 1;
            }
        }
        ensure!(shown == 5000 && quick.lost()? == Lost::default());
        let lost = slow.lost()?;
        ensure!(lost.queue > 0 && lost.ring == 0, "{lost:?}");
        Ok(())
    })
}
