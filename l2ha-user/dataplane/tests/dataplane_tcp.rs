//! TCP through the pseudowire: whole, right on the wire, and in super-packets.

mod kit;

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use dataplane::{AttachMode, Sublayer};
use kit::{
    Result,
    net::{Pair, UNDERLAY, VISIBLE, Wire},
    outer::Random,
    vlan::tag_everything,
};
use l2ha_ebpf::abi::{Dscp, OuterForm};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Longest wait for anything, with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends so many random bytes from one host to the other over an inner address, and insists that
/// the same bytes arrive.
fn transfer(pair: &Pair, address: &str, bytes: usize) -> Result {
    let sent = Random(bytes as u64).bytes(bytes);
    let target: SocketAddr = address.parse()?;
    let listener = pair.b.ns.enter(|| TcpListener::bind(target))??;
    let mut stream = pair
        .a
        .ns
        .enter(|| TcpStream::connect_timeout(&target, PATIENCE))?
        .with_context(|| {
            format!(
                "cannot connect to {target}: {}",
                pair.state().unwrap_or_default()
            )
        })?;
    let (mut server, _) = listener.accept()?;
    server.set_read_timeout(Some(Duration::from_secs(1)))?;
    let end = stream.try_clone()?;
    let received = thread::scope(|scope| -> Result<Vec<u8>> {
        let sender = scope.spawn(|| {
            stream.write_all(&sent)?;
            stream.shutdown(Shutdown::Write)
        });
        let received = receive(&mut server, bytes);
        // Wakes a sender that cannot get rid of the rest.
        let _ = end.shutdown(Shutdown::Both);
        let sender = sender.join().expect("the sender does not panic");
        let received = received.with_context(|| pair.state().unwrap_or_default())?;
        sender?;
        Ok(received)
    })?;
    ensure!(received == sent, "{:?}: other bytes arrived", pair.wire);
    Ok(())
}

/// Does something with this thread and what it starts on one processor: of two, each numbers its
/// packets and either may send first, so that some come late and are dropped for it.
fn on_one_processor<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let this = Pid::from_raw(0);
    let all = sched_getaffinity(this)?;
    let first = (0..CpuSet::count()).find(|cpu| all.is_set(*cpu) == Ok(true));
    let mut one = CpuSet::new();
    one.set(first.context("no processor")?)?;
    sched_setaffinity(this, &one)?;
    let done = work();
    sched_setaffinity(this, &all)?;
    done
}

/// Reads until so many bytes are there; a stream that only trickles does not get more time.
fn receive(stream: &mut TcpStream, bytes: usize) -> Result<Vec<u8>> {
    let begin = Instant::now();
    let mut received = Vec::with_capacity(bytes);
    let mut buffer = vec![0; 1 << 16];
    while received.len() < bytes {
        ensure!(
            begin.elapsed() < PATIENCE,
            "only {} of {bytes} bytes within {PATIENCE:?}",
            received.len()
        );
        match stream.read(&mut buffer) {
            Ok(0) => bail!("the stream ends after {} of {bytes} bytes", received.len()),
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(received)
}

/// Every carrier and hook, with cookies of equal length so that tshark can be told.
fn wires() -> Vec<Wire> {
    let mut wires = Vec::new();
    for mode in [AttachMode::Xdp, AttachMode::Tc] {
        for v6 in [false, true] {
            for udp in [true, false] {
                wires.push(Wire {
                    v6,
                    udp,
                    mode,
                    cookies: (b"\x11\x22\x33\x44", b"\x55\x66\x77\x88"),
                    sublayer: Sublayer::Default,
                    ..Wire::default()
                });
                if v6 != udp {
                    wires.push(Wire {
                        v6,
                        udp,
                        cookies: (b"\x11\x22\x33\x44", b"\x55\x66\x77\x88"),
                        sublayer: Sublayer::Default,
                        mode,
                        form: OuterForm {
                            send_sequence: true,
                            receive_sequence: true,
                            ..OuterForm::default()
                        },
                        ..Wire::default()
                    });
                }
            }
            // Whole super-packets over IPv6 as well, each flow with a port of its own.
            wires.push(Wire {
                v6,
                mode,
                cookies: (b"\x11\x22\x33\x44", b"\x55\x66\x77\x88"),
                sublayer: Sublayer::Default,
                form: OuterForm {
                    ttl: 17,
                    dscp: Dscp::Copy,
                    ecn: true,
                    udp_checksum: false,
                    flow_ports: true,
                    ..OuterForm::default()
                },
                ..Wire::default()
            });
        }
    }
    wires
}

/// Waits until tcpdump has written what it has seen.
fn settle(file: &Path) -> Result {
    let mut length = 0;
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = file.metadata()?.len();
        if now == length {
            return Ok(());
        }
        length = now;
    }
}

/// What makes a packet suspect, outside or inside, as a display filter of Wireshark's; and an outer
/// packet that could not have crossed the wire. A TCP checksum of 0 Linux writes as 0xffff
/// (`CSUM_MANGLED_0` in skb_checksum_help), equal to it and yet suspect to tshark.
const SUSPECT: &str = "_ws.malformed || _ws.short || ip.checksum.status == 0 \
    || (udp.checksum.status == 0 && udp.checksum != 0) || icmpv6.checksum.status == 0 \
    || (tcp.checksum.status == 0 && tcp.checksum != 0xffff) \
    || icmp.checksum.status == 0 || frame.len > 1514";

/// The packets of a capture that a display filter selects, a line each.
fn tshark(file: &Path, filter: &str) -> Result<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file).args(["-Y", filter]);
    for preference in [
        "ip.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "eth.fcs:Never",
        "l2tp.cookie_size:4 Byte Cookie",
        "l2tp.l2_specific:Default L2-Specific",
    ] {
        command.args(["-o", preference]);
    }
    command.args([
        "-d",
        "l2tp.pw_type==0,eth",
        "-d",
        "udp.port==1701,l2tp",
        "-d",
        "udp.port==1702,l2tp",
    ]);
    let output = command.output().context("is tshark installed?")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn tcp_is_whole_and_right_on_the_wire() -> Result {
    const BYTES: usize = 2_000_000;
    for wire in wires() {
        let pair = Pair::new(wire)?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("wire.pcap");
        let mut tcpdump = Command::new("tcpdump");
        tcpdump
            .args(["-i", UNDERLAY, "-Q", "out", "-n", "-U", "--immediate-mode"])
            .args(["-B", "65536", "-Z", "root", "-w"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let capture = pair.a.ns.spawn(tcpdump)?;
        let begin = Instant::now();
        while !file.exists() && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        let outcome = on_one_processor(|| {
            transfer(&pair, "192.0.2.2:4000", BYTES)?;
            transfer(&pair, "[fd00:2::2]:4000", BYTES)
        });
        settle(&file)?;
        capture.terminate(PATIENCE)?;
        outcome?;
        let suspects = tshark(&file, SUSPECT)?;
        ensure!(
            suspects.is_empty(),
            "{wire:?}: tshark finds fault with {}",
            suspects[0]
        );
        let tcp = tshark(&file, "l2tp && eth && tcp")?.len();
        // tcpdump may miss some on a busy machine; none is larger than the wire allows, above.
        let segments = BYTES / usize::from(wire.mtu());
        ensure!(tcp > segments, "{wire:?}: only {tcp} packets of TCP");
        pair.nothing_refused()?;
    }
    Ok(())
}

/// How many packets of an interface of the second host the kernel has counted as received.
fn received_packets(pair: &Pair, interface: &str) -> Result<u64> {
    let links = pair
        .b
        .ns
        .ip_json(&["-s", "link", "show", "dev", interface])?;
    links[0]["stats64"]["rx"]["packets"]
        .as_u64()
        .with_context(|| format!("no count: {links}"))
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn super_packets_stay_whole_until_the_underlay() -> Result {
    const BYTES: usize = 20_000_000;
    for tagged in [false, true] {
        // The underlay takes super-packets here, as a NIC that cuts them would.
        let wire = Wire {
            mode: AttachMode::Tc,
            as_a_wire: false,
            ..Wire::default()
        };
        let pair = Pair::new(wire)?;
        if tagged {
            for (side, name) in [(&pair.a, "a"), (&pair.b, "b")] {
                let mtu = (wire.mtu() - 4).to_string();
                side.ns.run(["ip", "link", "set", VISIBLE, "mtu", &mtu])?;
                tag_everything(&side.ns, &pair.pins.dir(name))?;
            }
        }
        for target in ["192.0.2.2:4000", "[fd00:2::2]:4000"] {
            let (before, sent) = (received_packets(&pair, UNDERLAY)?, pair.a.traffic()?);
            transfer(&pair, target, BYTES)?;
            let crossed = received_packets(&pair, UNDERLAY)? - before;
            let counted = pair.a.traffic()?.tx_packets - sent.tx_packets;
            let least = (BYTES / usize::from(wire.mtu())) as u64;
            ensure!(counted >= least, "{wire:?}: only {counted} counted as sent");
            ensure!(
                crossed * 5 < counted,
                "{wire:?} tagged {tagged} {target}: {counted} packets crossed as {crossed}"
            );
        }
        pair.nothing_refused()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn tagged_super_packets_are_cut_right() -> Result {
    for v6 in [false, true] {
        let wire = Wire {
            v6,
            ..Wire::default()
        };
        let pair = Pair::new(wire)?;
        for (side, name) in [(&pair.a, "a"), (&pair.b, "b")] {
            let mtu = (wire.mtu() - 4).to_string();
            side.ns.run(["ip", "link", "set", VISIBLE, "mtu", &mtu])?;
            tag_everything(&side.ns, &pair.pins.dir(name))?;
        }
        for target in ["192.0.2.2:4000", "[fd00:2::2]:4000"] {
            transfer(&pair, target, 5_000_000)?;
        }
        pair.nothing_refused()?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn super_packets_whose_segments_do_not_fit_are_counted() -> Result {
    let pair = Pair::new(Wire::default())?;
    for side in [&pair.a, &pair.b] {
        side.ns.run(["ip", "link", "set", VISIBLE, "mtu", "1500"])?;
    }
    let listener = pair.b.ns.enter(|| TcpListener::bind("192.0.2.2:4000"))??;
    let mut stream = pair.a.ns.enter(|| TcpStream::connect("192.0.2.2:4000"))??;
    let (mut server, _) = listener.accept()?;
    // Into the send buffer; it cannot leave.
    stream.write_all(&[0; 30_000])?;
    server.set_read_timeout(Some(Duration::from_millis(500)))?;
    ensure!(server.read(&mut [0; 10]).is_err(), "it cannot have fitted");
    ensure!(pair.a.reason("too_big")? > 0, "{}", pair.state()?);
    Ok(())
}
