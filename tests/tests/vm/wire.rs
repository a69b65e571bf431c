//! The Linux kernel's own L2TPv3 against itself, between two virtual machines: what the other
//! scenarios and docs/protocols.md say of the wire is read off it here, and captures of it are what
//! the data plane's tests feed to its programs.
//!
//! `L2HA_CAPTURES=<folder>` keeps the captures there: that is how tests/captures was made.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use l2ha_lab::{
    Capture, Cloud, CloudOptions, Framing, Lab, Outer, check, keep, packets,
    vm::{Pseudowire, Vm},
};

/// UDP port of both ends.
const PORT: u16 = 1701;
/// Time for a command in a machine on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
/// Host parts of the machines' underlay addresses.
const A: u8 = 101;
const B: u8 = 102;

/// How two ends of a pseudowire speak to each other.
#[derive(Debug, Clone, Copy)]
struct Form {
    outer: Outer,
    v6: bool,
    /// Length of the cookie in bytes.
    cookie: usize,
    sublayer: bool,
    sequenced: bool,
}

impl Form {
    /// The twelve with IPv4 outside, then some more that are worth having.
    fn all() -> Vec<Self> {
        let plain = Self {
            cookie: 0,
            ..Self::ours(Outer::Udp)
        };
        let mut forms = Vec::new();
        for outer in [Outer::Udp, Outer::Ip] {
            for cookie in [0, 4, 8] {
                for sublayer in [false, true] {
                    forms.push(Self {
                        outer,
                        cookie,
                        sublayer,
                        ..plain
                    });
                }
            }
        }
        for outer in [Outer::Udp, Outer::Ip] {
            let sequenced = Self {
                outer,
                sublayer: true,
                sequenced: true,
                ..plain
            };
            let v6 = Self {
                outer,
                v6: true,
                cookie: 8,
                ..plain
            };
            forms.extend([
                sequenced,
                v6,
                Self {
                    sublayer: true,
                    cookie: 4,
                    ..v6
                },
            ]);
        }
        forms
    }

    /// What our own nodes speak to each other.
    fn ours(outer: Outer) -> Self {
        Self {
            outer,
            v6: false,
            cookie: 8,
            sublayer: false,
            sequenced: false,
        }
    }

    fn name(self) -> String {
        format!(
            "{}{}-cookie{}-{}{}",
            match self.outer {
                Outer::Udp => "udp",
                Outer::Ip => "ip",
            },
            if self.v6 { 6 } else { 4 },
            self.cookie,
            if self.sublayer { "default" } else { "none" },
            if self.sequenced { "-sequenced" } else { "" },
        )
    }

    /// What stands between the IP header and the frame, by RFC 3931 and by what was read off the
    /// kernel; `ns` is the number of a sequenced message.
    fn header(self, session: u32, cookie: &[u8], ns: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.outer == Outer::Udp {
            bytes.extend([0x00, 0x03, 0x00, 0x00]);
        }
        bytes.extend(session.to_be_bytes());
        bytes.extend(cookie);
        if self.sequenced {
            bytes.extend((0x4000_0000 | ns).to_be_bytes());
        } else if self.sublayer {
            bytes.extend([0; 4]);
        }
        bytes
    }
}

/// Both ends of a form: the session ids and cookies tell who sent what.
fn ends(form: Form, number: u32, underlay: [IpAddr; 2]) -> [Pseudowire; 2] {
    let (id_a, id_b) = (0x0a00_0000 + number, 0x0b00_0000 + number);
    let (from_a, from_b) = (
        [0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8],
        [0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8],
    );
    let end = |me: usize, ids: (u32, u32), send: &[u8], receive: &[u8]| Pseudowire {
        interface: "l2".into(),
        mac: Some(format!("02:00:00:00:00:{:02x}", 0xa + me)),
        tunnel_id: number,
        outer: form.outer,
        local: underlay[me],
        remote: underlay[1 - me],
        ports: (PORT, PORT),
        session_id: ids.0,
        peer_session_id: ids.1,
        send_cookie: send[..form.cookie].to_vec(),
        receive_cookie: receive[..form.cookie].to_vec(),
        sublayer: form.sublayer,
        sequenced: form.sequenced,
        addresses: vec![format!("{}/24", inner(me))],
    };
    [
        end(0, (id_a, id_b), &from_a, &from_b),
        end(1, (id_b, id_a), &from_b, &from_a),
    ]
}

/// The machines' addresses that a form's outer headers have.
fn underlay(machines: &[Arc<Vm>; 2], form: Form) -> [IpAddr; 2] {
    [0, 1].map(|machine: usize| {
        let vm = &machines[machine];
        if form.v6 { vm.v6.into() } else { vm.v4.into() }
    })
}

/// The address inside the pseudowire of machine 0 or 1.
fn inner(machine: usize) -> Ipv4Addr {
    [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)][machine]
}

/// The link-local address made of the MAC address that [`ends`] gives.
fn link_local(machine: usize) -> &'static str {
    ["fe80::ff:fe00:a", "fe80::ff:fe00:b"][machine]
}

#[test]
#[ignore = "needs root: run by cargo xtask test --deep"]
fn deep_every_form_is_on_the_wire_as_told() -> Result<()> {
    Lab::run("vm-wire-deep", |lab| {
        let options = CloudOptions {
            carries_l2tp: true,
            ..CloudOptions::default()
        };
        let (cloud, _) = lab.cloud(options, &[])?;
        let machines = thread::scope(|scope| -> Result<_> {
            let b = scope.spawn(|| Vm::boot(lab, &cloud, "vm-b", B));
            let a = Vm::boot(lab, &cloud, "vm-a", A);
            let b = b.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok([a?, b?])
        })?;
        let mut number = 0;
        for form in Form::all() {
            number += 1;
            let name = form.name();
            let file =
                one_form(lab, &cloud, &machines, form, number).with_context(|| name.clone())?;
            lab.say(format_args!("{name} is as told"));
            keep(&file, &name)?;
        }
        for form in [Outer::Udp, Outer::Ip].map(Form::ours) {
            number += 1;
            let name = format!("{}-fragments", form.name());
            let file =
                fragments(lab, &cloud, &machines, form, number).with_context(|| name.clone())?;
            lab.say(format_args!("{name} is as told"));
            keep(&file, &name)?;
        }
        Ok(())
    })
}

/// Every capture that is kept in tests/captures, for those who cannot run the machines.
#[test]
fn the_captures_kept_are_as_told() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    for (number, form) in (1..).zip(Form::all()) {
        let file = folder.join(format!("{}.pcap", form.name()));
        let addresses = if form.v6 {
            [A, B].map(|host| Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, host.into()).into())
        } else {
            [A, B].map(|host| Ipv4Addr::new(10, 77, 0, host).into())
        };
        compare(&file, form, &ends(form, number, addresses)).with_context(|| form.name())?;
    }
    for form in [Outer::Udp, Outer::Ip].map(Form::ours) {
        let name = format!("{}-fragments", form.name());
        compare_fragments(&folder.join(format!("{name}.pcap"))).with_context(|| name)?;
    }
    Ok(())
}

fn one_form(
    lab: &Lab,
    cloud: &Cloud,
    machines: &[Arc<Vm>; 2],
    form: Form,
    number: u32,
) -> Result<PathBuf> {
    let ends = ends(form, number, underlay(machines, form));
    // Started before the interfaces, whose first packets are IPv6's own.
    let filter = match form.outer {
        Outer::Udp => format!("udp port {PORT}"),
        Outer::Ip => "proto 115 or ip6 proto 115".into(),
    };
    let capture = Capture::start(lab, cloud.router(), "to-vm-a", &filter, &form.name())?;
    for (end, vm) in ends.iter().zip(machines) {
        end.add(vm)?;
    }
    for (me, vm) in machines.iter().enumerate() {
        let (v4, v6) = (inner(1 - me), link_local(1 - me));
        vm.run_for(
            &format!("ping -c 2 -i 0.2 -W 5 {v4}\nping -c 2 -i 0.2 -W 5 -I l2 {v6}"),
            PATIENCE,
        )?;
    }
    for (end, vm) in ends.iter().zip(machines) {
        end.remove(vm)?;
    }
    let file = capture.finish()?.to_owned();
    compare(&file, form, &ends)?;
    let framing = Framing {
        cookie: form.cookie,
        sublayer: form.sublayer,
        port: PORT,
    };
    // Echo payloads are data to Wireshark; `compare` and ping itself have judged those.
    let seen = check(&file, framing, "!data")?;
    for protocol in ["arp", "icmpv6"] {
        ensure!(
            seen.count(protocol) > 0,
            "no {protocol} in {:?}",
            seen.stacks
        );
    }
    Ok(file)
}

/// Frames larger than the underlay carries: the kernel leaves them to IP's fragmentation, and puts
/// them together again.
fn fragments(
    lab: &Lab,
    cloud: &Cloud,
    machines: &[Arc<Vm>; 2],
    form: Form,
    number: u32,
) -> Result<PathBuf> {
    let ends = ends(form, number, underlay(machines, form));
    for (end, vm) in ends.iter().zip(machines) {
        end.add(vm)?;
        vm.run("ip link set l2 mtu 1500")?;
    }
    machines[0].run_for(&format!("ping -c 1 -W 5 {}", inner(1)), PATIENCE)?;
    let name = format!("{}-fragments", form.name());
    // The first part of a frame of 1514 bytes, and the rest of it, which has no UDP header.
    let filter = "ip[6:2] & 0x3fff != 0";
    let capture = Capture::start(lab, cloud.router(), "to-vm-a", filter, &name)?;
    machines[0].run_for(&format!("ping -c 2 -W 5 -s 1472 {}", inner(1)), PATIENCE)?;
    for (end, vm) in ends.iter().zip(machines) {
        end.remove(vm)?;
    }
    let file = capture.finish()?.to_owned();
    compare_fragments(&file)?;
    Ok(file)
}

/// Insists that a capture holds pairs of fragments: a first one that is as long as the underlay
/// allows, and a last one.
fn compare_fragments(file: &Path) -> Result<()> {
    let (_, packets) = packets(file)?;
    ensure!(packets.len() >= 8, "only {} fragments", packets.len());
    for (index, packet) in packets.iter().enumerate() {
        let ip = &packet[14..];
        let length = u16::from_be_bytes([ip[2], ip[3]]);
        let fragment = u16::from_be_bytes([ip[6], ip[7]]);
        let (more, offset) = (fragment & 0x2000 != 0, fragment & 0x1fff);
        let expected = if index % 2 == 0 {
            more && offset == 0 && length == 1500
        } else {
            !more && offset == 185 && length < 100
        };
        ensure!(
            expected,
            "fragment {index}: length {length}, more {more}, offset {offset}"
        );
    }
    Ok(())
}

/// Compares every packet of a capture, byte by byte, with what the form says.
fn compare(file: &Path, form: Form, ends: &[Pseudowire; 2]) -> Result<()> {
    let (_, packets) = packets(file)?;
    let mut heard = [0_u32; 2];
    for (index, packet) in packets.iter().enumerate() {
        let ip = IpView::read(packet)?;
        let from = ends
            .iter()
            .position(|end| end.local == ip.source)
            .with_context(|| format!("packet {index} is from {}", ip.source))?;
        let sender = &ends[from];
        let told = |what: &str| format!("packet {index} from machine {from}: {what}");
        ensure!(ip.destination == sender.remote, told("its destination"));
        ensure!(ip.traffic_class == 0, told("its traffic class"));
        // The capture is taken where machine 0's packets have not been routed yet.
        ensure!(ip.hops == [64, 63][from], told("its hop limit"));
        ensure!(!ip.dont_fragment, told("it has DF"));
        let mut payload = ip.payload;
        match form.outer {
            Outer::Udp => {
                ensure!(ip.protocol == 17, told("its protocol"));
                ensure!(payload[..4] == [0x06, 0xa5, 0x06, 0xa5], told("its ports"));
                let summed = payload[6..8] != [0, 0];
                // Left out over IPv4 and there over IPv6: udp_csum is off, udp6_csum on.
                ensure!(summed == form.v6, told("its UDP checksum"));
                payload = &payload[8..];
            }
            Outer::Ip => ensure!(ip.protocol == 115, told("its protocol")),
        }
        let header = form.header(sender.peer_session_id, &sender.send_cookie, heard[from]);
        ensure!(
            payload.starts_with(&header),
            told(&format!(
                "{:02x?} and not {header:02x?}",
                &payload[..header.len().min(payload.len())]
            ))
        );
        let frame = &payload[header.len()..];
        let mac = [2, 0, 0, 0, 0, [0xa, 0xb][from]];
        ensure!(frame.len() >= 14 && frame[6..12] == mac, told("its frame"));
        heard[from] += 1;
    }
    ensure!(
        heard.iter().all(|count| *count >= 8),
        "only {heard:?} packets of the machines"
    );
    Ok(())
}

/// The parts of an outer header that are compared.
struct IpView<'a> {
    source: IpAddr,
    destination: IpAddr,
    traffic_class: u8,
    hops: u8,
    dont_fragment: bool,
    protocol: u8,
    payload: &'a [u8],
}

impl<'a> IpView<'a> {
    /// Reads an Ethernet frame with an IP header without options or extension headers in it.
    fn read(frame: &'a [u8]) -> Result<Self> {
        let ip = frame.get(14..).context("a short frame")?;
        let address4 = |at: usize| -> Result<IpAddr> {
            let bytes: [u8; 4] = ip.get(at..at + 4).context("short")?.try_into()?;
            Ok(bytes.into())
        };
        let address6 = |at: usize| -> Result<IpAddr> {
            let bytes: [u8; 16] = ip.get(at..at + 16).context("short")?.try_into()?;
            Ok(bytes.into())
        };
        match frame[12..14] {
            [0x08, 0x00] => {
                ensure!(ip[0] == 0x45, "IPv4 options");
                let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
                Ok(Self {
                    source: address4(12)?,
                    destination: address4(16)?,
                    traffic_class: ip[1],
                    hops: ip[8],
                    dont_fragment: ip[6] & 0x40 != 0,
                    protocol: ip[9],
                    payload: ip.get(20..length).context("a short packet")?,
                })
            }
            [0x86, 0xdd] => {
                let length = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
                Ok(Self {
                    source: address6(8)?,
                    destination: address6(24)?,
                    traffic_class: ip[0] << 4 | ip[1] >> 4,
                    hops: ip[7],
                    dont_fragment: false,
                    protocol: ip[6],
                    payload: ip.get(40..40 + length).context("a short packet")?,
                })
            }
            _ => anyhow::bail!("no IP: {:02x?}", &frame[12..14]),
        }
    }
}
