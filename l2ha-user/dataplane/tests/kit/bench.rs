//! One host with sessions of every form, whose programs are run on packets one by one.

use std::{net::IpAddr, path::Path};

use anyhow::{Context as _, ensure};
use dataplane::{
    Cookie, DataPlane, Encapsulation, Session, Sublayer,
    trial::{Outcome, Program, Trial, Verdict},
};
use l2ha_ebpf::{abi::OuterForm, inner, packet::Packet};
use l2ha_lab::Namespace;

use super::{Pins, Result, net::endpoint, outer::Outer};

const RECEIVE: &[u8] = b"\xc1\xc2\xc3\xc4\xc5\xc6\xc7\xc8";
const SEND: &[u8] = b"\xd1\xd2\xd3\xd4\xd5\xd6\xd7\xd8";

/// Length of the mark in front of a frame, which test runs return with the packet.
const MARK: usize = 8;

/// Both programs that decapsulate.
pub(crate) const DECAPS: [Program; 2] = [Program::Xdp, Program::Decap];

/// One way to put a frame into a packet.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) session: Session,
    /// The cookie this node expects and the one it sends.
    pub(crate) cookies: (&'static [u8], &'static [u8]),
}

/// The host.
pub(crate) struct Bench {
    pub(crate) ns: Namespace,
    pub(crate) plane: DataPlane,
    pub(crate) forms: Vec<Form>,
    pub(crate) visible: u32,
    pub(crate) hidden: u32,
    /// Unless they are the caller's.
    pins: Option<Pins>,
}

impl Bench {
    /// Makes it: UDP and IP, IPv4 and IPv6, cookies of 0, 4 and 8 bytes, both sublayers.
    pub(crate) fn new() -> Result<Self> {
        let pins = Pins::new()?;
        let bench = Self::at(&pins.dir("bench"))?;
        Ok(Self {
            pins: Some(pins),
            ..bench
        })
    }

    /// The same, with its pins in this folder.
    pub(crate) fn at(pins: &Path) -> Result<Self> {
        let ns = Namespace::new("bench")?;
        ns.ip_batch(
            "link add eth0 mtu 1500 type veth peer name far\n\
             link add l2-a mtu 1400 type veth peer name l2h-a\n",
        )?;
        let index =
            |name: &str| -> Result<u32> { ns.ifindex(name)?.with_context(|| format!("no {name}")) };
        let (underlay, visible, hidden) = (index("eth0")?, index("l2-a")?, index("l2h-a")?);
        let mut forms = Vec::new();
        for v6 in [false, true] {
            for udp in [true, false] {
                for cookie in [0, 4, 8] {
                    for sublayer in [Sublayer::None, Sublayer::Default] {
                        let number = u32::try_from(forms.len())?;
                        // Lengths differ by direction.
                        let cookies = (&RECEIVE[..cookie], &SEND[..8 - cookie]);
                        let session = Session {
                            session_id: 0x0100_0000 + number,
                            peer_session_id: 0x0200_0000 + number,
                            local: address(v6, 1),
                            remote: address(v6, 2),
                            encapsulation: if udp {
                                Encapsulation::Udp {
                                    local_port: 1701,
                                    remote_port: 1702,
                                }
                            } else {
                                Encapsulation::Ip
                            },
                            send_cookie: Cookie::new(cookies.1).expect("0, 4 or 8 bytes"),
                            receive_cookie: Cookie::new(cookies.0).expect("0, 4 or 8 bytes"),
                            previous_cookie: None,
                            sublayer,
                            form: OuterForm::default(),
                            visible_ifindex: visible,
                            hidden_ifindex: hidden,
                            underlay_ifindex: underlay,
                            next_hop: Some(address(v6, 2)),
                        };
                        forms.push(Form { session, cookies });
                    }
                }
            }
        }
        let mut plane = DataPlane::load(pins)?;
        let endpoints: Vec<_> = forms.iter().map(|form| endpoint(&form.session)).collect();
        plane.set_endpoints(&endpoints)?;
        for form in &forms {
            plane.set_session(&form.session)?;
        }
        plane.settle()?;
        Ok(Self {
            ns,
            plane,
            forms,
            visible,
            hidden,
            pins: None,
        })
    }

    /// Runs a program on a packet.
    pub(crate) fn run(&mut self, program: Program, packet: &[u8]) -> Result<Outcome> {
        self.run_gso(program, packet, None)
    }

    /// Runs a program on a super-packet.
    pub(crate) fn run_gso(
        &mut self,
        program: Program,
        packet: &[u8],
        gso: Option<(u32, u32)>,
    ) -> Result<Outcome> {
        let ifindex = match program {
            Program::Xdp | Program::Decap => 0,
            Program::Encap => self.visible,
            Program::Hidden => self.hidden,
        };
        let trial = Trial {
            packet,
            ifindex,
            gso,
        };
        let plane = &mut self.plane;
        self.ns.enter(|| plane.try_program(program, trial))?
    }

    /// Runs a program on a packet and looks at which counters moved: the reason, if any, and
    /// whether a session's did.
    pub(crate) fn run_counted(
        &mut self,
        program: Program,
        packet: &[u8],
    ) -> Result<(Outcome, Option<&'static str>, bool)> {
        let before = self.plane.counters()?;
        let outcome = self.run(program, packet)?;
        let after = self.plane.counters()?;
        let mut moved = after
            .reasons
            .iter()
            .filter(|(name, count)| before.reasons[*name] != **count);
        let reason = moved.next();
        ensure!(moved.next().is_none(), "one packet moved two counters");
        if let Some((name, count)) = reason {
            ensure!(
                *count == before.reasons[name] + 1,
                "{name} moved by more than one"
            );
        }
        Ok((
            outcome,
            reason.map(|(name, _)| *name),
            before.sessions != after.sessions,
        ))
    }

    /// Runs a program on a packet that must be refused for this reason.
    pub(crate) fn refuses(&mut self, program: Program, packet: &[u8], reason: &str) -> Result {
        let (outcome, counted, delivered) = self.run_counted(program, packet)?;
        ensure!(
            outcome.verdict == Verdict::Drop && counted == Some(reason) && !delivered,
            "{program:?}: not refused as {reason}: {:?}, counted {counted:?}, session's {delivered}",
            outcome.verdict
        );
        Ok(())
    }

    /// Runs a program on a packet that must go on untouched, counted under this reason if any.
    pub(crate) fn passes(
        &mut self,
        program: Program,
        packet: &[u8],
        reason: Option<&str>,
    ) -> Result {
        let (outcome, counted, delivered) = self.run_counted(program, packet)?;
        ensure!(
            outcome.verdict == Verdict::Pass && counted == reason && !delivered,
            "{program:?}: not passed on: {:?}, counted {counted:?}, session's {delivered}",
            outcome.verdict
        );
        ensure!(
            outcome.packet == packet,
            "{program:?}: passed on, but changed"
        );
        Ok(())
    }

    /// Runs a program on a packet whose frame must be delivered.
    pub(crate) fn delivers(&mut self, program: Program, packet: &[u8], frame: &[u8]) -> Result {
        let (outcome, counted, delivered) = self.run_counted(program, packet)?;
        // To be merged on the underlay, behind a mark that says where it goes then.
        let marked = program == Program::Xdp && inner::is_mergeable(Packet::of(frame), 0);
        let (wanted, start) = match marked {
            true => (Verdict::Pass, MARK),
            false => (Verdict::Redirect, 0),
        };
        ensure!(
            outcome.verdict == wanted && counted.is_none() && delivered,
            "{program:?}: not delivered: {:?}, counted {counted:?}, session's {delivered}",
            outcome.verdict
        );
        ensure!(
            outcome.packet.get(start..) == Some(frame),
            "{program:?}: delivered {:02x?} instead of {frame:02x?}",
            outcome.packet
        );
        Ok(())
    }
}

impl Form {
    /// What comes from the peer with this frame in it.
    pub(crate) fn received(&self, frame: &[u8]) -> Outer {
        let ports = match self.session.encapsulation {
            Encapsulation::Udp {
                local_port,
                remote_port,
            } => Some((remote_port, local_port)),
            Encapsulation::Ip => None,
        };
        Outer {
            source: self.session.remote,
            destination: self.session.local,
            ports,
            options: Vec::new(),
            fragment: 0x4000,
            ip_length_lie: 0,
            udp_length_lie: 0,
            payload: self.payload(self.session.session_id, self.cookies.0, frame),
            padding: 0,
        }
    }

    /// What goes to the peer with this frame in it.
    pub(crate) fn sent(&self, frame: &[u8]) -> Outer {
        let mut outer = self.received(frame);
        std::mem::swap(&mut outer.source, &mut outer.destination);
        outer.ports = outer
            .ports
            .map(|(source, destination)| (destination, source));
        outer.payload = self.payload(self.session.peer_session_id, self.cookies.1, frame);
        outer
    }

    /// L2TPv3 header and frame, as in the table of what a kernel peer writes.
    fn payload(&self, id: u32, cookie: &[u8], frame: &[u8]) -> Vec<u8> {
        let mut payload = Vec::new();
        if self.session.encapsulation != Encapsulation::Ip {
            payload.extend([0x00, 0x03, 0x00, 0x00]);
        }
        payload.extend(id.to_be_bytes());
        payload.extend(cookie);
        if self.session.sublayer == Sublayer::Default {
            payload.extend([0, 0, 0, 0]);
        }
        payload.extend(frame);
        payload
    }

    /// Where the cookie starts in the payload.
    pub(crate) fn cookie_start(&self) -> usize {
        if self.session.encapsulation == Encapsulation::Ip {
            4
        } else {
            8
        }
    }

    /// Length of all L2TPv3 headers.
    pub(crate) fn header_length(&self) -> usize {
        let sublayer = if self.session.sublayer == Sublayer::Default {
            4
        } else {
            0
        };
        self.cookie_start() + self.cookies.0.len() + sublayer
    }

    pub(crate) fn is_udp(&self) -> bool {
        self.session.encapsulation != Encapsulation::Ip
    }

    /// Whether packets are cut before they are encapsulated, at the hidden end: behind protocol
    /// 115, and behind UDP over IPv6 with its checksum.
    pub(crate) fn wants_cut_packets(&self) -> bool {
        !self.is_udp() || self.session.local.is_ipv6()
    }
}

/// Whether the kernel runs a tc program on this frame: it wants a whole IP header behind the
/// ethertype of one.
pub(crate) fn runs_in_tc(frame: &[u8]) -> bool {
    match frame[12..14] {
        [0x08, 0x00] => frame.len() >= 34,
        [0x86, 0xdd] => frame.len() >= 54,
        _ => true,
    }
}

/// An address on the underlay.
pub(crate) fn address(v6: bool, number: u8) -> IpAddr {
    if v6 {
        IpAddr::from([0xfd09, 0, 0, 0, 0, 0, 0, u16::from(number)])
    } else {
        IpAddr::from([10, 9, 0, number])
    }
}

/// A frame of so many bytes (14 at least) with this ethertype and a payload that can be told from
/// any other.
pub(crate) fn frame(ethertype: u16, length: usize) -> Vec<u8> {
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 5, 0x02, 0, 0, 0, 0, 9];
    frame.extend(ethertype.to_be_bytes());
    frame.extend((14..length).map(|at| (at * 7) as u8));
    frame
}
