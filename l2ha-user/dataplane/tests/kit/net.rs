//! Two hosts in namespaces, joined by a veth underlay, with one pseudowire between them.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, ensure};
use dataplane::{
    AttachMode, Attached, Cookie, DataPlane, Encapsulation, Endpoint, EndpointKind, Session,
    Sublayer, Traffic,
};
use l2ha_ebpf::abi::OuterForm;
use l2ha_lab::Namespace;

use super::{Pins, Result};

/// The virtual interface on both hosts.
pub(crate) const VISIBLE: &str = "l2-peer";
/// Its hidden end.
pub(crate) const HIDDEN: &str = "l2h-peer";
/// The underlay on both hosts.
pub(crate) const UNDERLAY: &str = "eth0";

/// How a pseudowire is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) v6: bool,
    pub(crate) udp: bool,
    /// Cookie from the first host to the second, and back.
    pub(crate) cookies: (&'static [u8], &'static [u8]),
    pub(crate) sublayer: Sublayer,
    pub(crate) form: OuterForm,
    pub(crate) mode: AttachMode,
    /// MTU of the underlay.
    pub(crate) underlay_mtu: u16,
    /// Whether the underlay sums checksums and cuts super-packets, as a wire needs it.
    pub(crate) as_a_wire: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            v6: false,
            udp: true,
            cookies: (b"\x01\x02\x03\x04\x05\x06\x07\x08", b"\xa1\xa2\xa3\xa4"),
            sublayer: Sublayer::None,
            form: OuterForm::default(),
            mode: AttachMode::Xdp,
            underlay_mtu: 1500,
            as_a_wire: true,
        }
    }
}

impl Wire {
    /// MTU of the virtual interface.
    pub(crate) fn mtu(&self) -> u16 {
        let ip = if self.v6 { 40 } else { 20 };
        let udp = if self.udp { 12 } else { 0 };
        let sublayer = if self.sublayer == Sublayer::Default {
            4
        } else {
            0
        };
        let cookie = self.cookies.0.len().max(self.cookies.1.len()) as u16;
        self.underlay_mtu - ip - udp - 4 - cookie - sublayer - 14
    }
}

/// One of the two hosts.
pub(crate) struct Side {
    pub(crate) ns: Namespace,
    pub(crate) plane: DataPlane,
    pub(crate) session: Session,
    pub(crate) attached: Attached,
    /// Frames that the kernel sent of its own accord (MLD, DAD) between the programs of the two ends, because the
    /// virtual interface is up here before it has them; the daemon brings it up last.
    strays_at_start: u64,
}

/// Both hosts; dropping it removes everything.
pub(crate) struct Pair {
    pub(crate) a: Side,
    pub(crate) b: Side,
    pub(crate) wire: Wire,
    pub(crate) pins: Pins,
}

impl Pair {
    /// Makes both hosts, 192.0.2.1 and fd00:2::1 against .2 on the virtual interface.
    pub(crate) fn new(wire: Wire) -> Result<Self> {
        let pins = Pins::new()?;
        let (a, b) = (Namespace::new("a")?, Namespace::new("b")?);
        let mtu = wire.underlay_mtu;
        a.ip_batch(&format!(
            "link add {UNDERLAY} mtu {mtu} numtxqueues 1 numrxqueues 1 type veth \
             peer name {UNDERLAY} mtu {mtu} numtxqueues 1 numrxqueues 1 netns {}\n",
            b.name()
        ))?;
        for (ns, number) in [(&a, 1), (&b, 2)] {
            ns.ip_batch(&format!(
                "addr add 10.9.0.{number}/24 dev {UNDERLAY}\n\
                 addr add fd09::{number}/64 dev {UNDERLAY}\n\
                 link set {UNDERLAY} up\n"
            ))?;
            if wire.as_a_wire {
                ns.run(["ethtool", "-K", UNDERLAY, "tx", "off"])?;
            }
            let mtu = wire.mtu();
            ns.ip_batch(&format!(
                "link add {VISIBLE} mtu {mtu} address 02:00:00:00:01:0{number} type veth \
                 peer name {HIDDEN} mtu {}\n\
                 link set {HIDDEN} addrgenmode none\n\
                 link set {HIDDEN} up\n\
                 link set {VISIBLE} up\n\
                 addr add 192.0.2.{number}/24 dev {VISIBLE}\n\
                 addr add fd00:2::{number}/64 dev {VISIBLE}\n",
                mtu + 128
            ))?;
            ns.run(["ethtool", "-K", VISIBLE, "gro", "on"])?;
            ns.run(["ethtool", "-K", HIDDEN, "tso", "off"])?;
            if !wire.udp || wire.form.send_sequence && !wire.v6 {
                ns.run(["ethtool", "-K", VISIBLE, "tso", "off", "gso", "off"])?;
            } else if wire.v6 && wire.form.udp_checksum {
                // As the daemon sets it where the outer checksum is written.
                ns.run(["ethtool", "-K", VISIBLE, "tx", "off", "gso", "off"])?;
            }
        }
        let a = Side::new(a, &pins, "a", &wire, 1)?;
        let b = Side::new(b, &pins, "b", &wire, 2)?;
        Ok(Self { a, b, wire, pins })
    }

    /// What both hosts have counted, for an error.
    pub(crate) fn state(&self) -> Result<String> {
        Ok(format!(
            "{:?}\na: {:?} {:?}\nb: {:?} {:?}",
            self.wire,
            self.a.reasons()?,
            self.a.traffic()?,
            self.b.reasons()?,
            self.b.traffic()?,
        ))
    }

    /// Insists that neither host has counted a reason.
    pub(crate) fn nothing_refused(&self) -> Result {
        ensure!(
            self.a.reasons()?.is_empty() && self.b.reasons()?.is_empty(),
            "{}",
            self.state()?
        );
        Ok(())
    }
}

impl Side {
    fn new(ns: Namespace, pins: &Pins, name: &str, wire: &Wire, number: u8) -> Result<Self> {
        let mut plane = DataPlane::load(&pins.dir(name))?;
        let index =
            |name: &str| -> Result<u32> { ns.ifindex(name)?.with_context(|| format!("no {name}")) };
        let session = session(
            wire,
            number,
            [index(VISIBLE)?, index(HIDDEN)?, index(UNDERLAY)?],
        );
        let attached = set_up(&ns, &mut plane, &session, wire.mode)?;
        let mut side = Self {
            ns,
            plane,
            session,
            attached,
            strays_at_start: 0,
        };
        side.strays_at_start = side.reason("stray_frame")?;
        Ok(side)
    }

    /// The number of a reason.
    pub(crate) fn reason(&self, name: &str) -> Result<u64> {
        let reasons = self.counted()?;
        reasons
            .get(name)
            .copied()
            .with_context(|| format!("no reason {name}"))
    }

    /// The reasons that are not 0.
    pub(crate) fn reasons(&self) -> Result<Vec<(&'static str, u64)>> {
        let reasons = self.counted()?.into_iter();
        Ok(reasons.filter(|(_, count)| *count > 0).collect())
    }

    /// Every reason, without what was counted before the virtual interface had both its programs.
    fn counted(&self) -> Result<BTreeMap<&'static str, u64>> {
        let mut reasons = self.plane.counters()?.reasons;
        if let Some(strays) = reasons.get_mut("stray_frame") {
            *strays -= self.strays_at_start;
        }
        Ok(reasons)
    }

    /// What went through the session.
    pub(crate) fn traffic(&self) -> Result<Traffic> {
        let counters = self.plane.counters()?;
        Ok(counters.sessions[&self.session.session_id])
    }
}

/// The session of host 1 or 2; the indices are those of the visible end, the hidden end and the
/// underlay.
pub(crate) fn session(wire: &Wire, number: u8, [visible, hidden, underlay]: [u32; 3]) -> Session {
    let address = |number: u8| -> IpAddr {
        if wire.v6 {
            IpAddr::from([0xfd09, 0, 0, 0, 0, 0, 0, u16::from(number)])
        } else {
            IpAddr::from([10, 9, 0, number])
        }
    };
    let is_first = number == 1;
    let (send, receive) = if is_first {
        wire.cookies
    } else {
        (wire.cookies.1, wire.cookies.0)
    };
    Session {
        session_id: 1000 + u32::from(number),
        peer_session_id: 1000 + u32::from(3 - number),
        local: address(number),
        remote: address(3 - number),
        encapsulation: if wire.udp {
            Encapsulation::Udp {
                local_port: 1700 + u16::from(number),
                remote_port: 1700 + u16::from(3 - number),
            }
        } else {
            Encapsulation::Ip
        },
        send_cookie: Cookie::new(send).expect("0, 4 or 8 bytes"),
        receive_cookie: Cookie::new(receive).expect("0, 4 or 8 bytes"),
        previous_cookie: None,
        sublayer: wire.sublayer,
        form: wire.form,
        visible_ifindex: visible,
        hidden_ifindex: hidden,
        underlay_ifindex: underlay,
        next_hop: Some(address(3 - number)),
    }
}

/// The endpoint of a session.
pub(crate) fn endpoint(session: &Session) -> Endpoint {
    Endpoint {
        address: session.local,
        kind: match session.encapsulation {
            Encapsulation::Udp { local_port, .. } => EndpointKind::Udp { port: local_port },
            Encapsulation::Ip => EndpointKind::Ip,
        },
    }
}

/// What the daemon does: session and endpoints, the virtual interface, and at last the underlay.
pub(crate) fn set_up(
    ns: &Namespace,
    plane: &mut DataPlane,
    session: &Session,
    mode: AttachMode,
) -> Result<Attached> {
    ns.enter(|| {
        plane.set_endpoints(&[endpoint(session)])?;
        plane.set_session(session)?;
        plane.attach_session_interface(VISIBLE, HIDDEN)?;
        plane.attach_underlay(session.underlay_ifindex, UNDERLAY, mode)
    })?
}
