//! Sessions and endpoints, as they are in the maps.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapError;
use l2ha_ebpf::plan::{Cookie, Encapsulation, Sublayer};
use l2ha_ebpf::{
    abi::{
        Address, Carrier, EndpointKey, MAX_SESSIONS, Numbers, SessionId, SessionPlan,
        SessionReason, SessionValue, Traffic, Transmit,
    },
    reason::Reason,
};

use crate::{
    object::{Object, Shared},
    reassembled::Reassembled,
    rows::Rows,
    types::{Endpoint, EndpointKind, Session},
};

const SESSIONS: &str = "SESSIONS";
const ENDPOINTS: &str = "ENDPOINTS";
const INTERFACES: &str = "INTERFACES";
pub(crate) const TRAFFIC: &str = "TRAFFIC";
const NUMBERS: &str = "NUMBERS";
pub(crate) const BY_SESSION: &str = "BY_SESSION";

/// What is in the maps.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    rows: Rows,
    installed: BTreeMap<u32, Installed>,
    /// How many sessions use an interface's entry.
    interfaces: HashMap<u32, u32>,
    /// Slots of the counters by session id, also of sessions that are not there now.
    slots: HashMap<u32, u32>,
    free: Vec<u32>,
    endpoints: HashSet<EndpointKey>,
    reassembled: Reassembled,
}

#[derive(Clone, Copy, Debug)]
struct Installed {
    slot: u32,
    visible: u32,
    hidden: u32,
    /// What was written, to leave alone what fits.
    value: SessionValue,
}

impl Sessions {
    /// What is in maps that have just been made.
    pub(crate) fn none() -> Self {
        Self {
            free: (0..MAX_SESSIONS).rev().collect(),
            ..Self::default()
        }
    }

    /// Reads what an earlier daemon left in the maps.
    pub(crate) fn adopt(object: &mut Object) -> Result<Self> {
        let mut sessions = Self::default();
        let traffic = object.array::<Traffic>(TRAFFIC)?;
        for slot in (0..MAX_SESSIONS).rev() {
            let cpus = traffic
                .get(&slot, 0)
                .context("cannot read the sessions' counters")?;
            match cpus.iter().map(|cpu| cpu.0.session).max() {
                Some(id @ 1..) => {
                    let id = u32::try_from(id).context("the counters are not l2ha's")?;
                    sessions.slots.insert(id, slot);
                }
                _ => sessions.free.push(slot),
            }
        }
        for entry in object.hash::<SessionId, SessionValue>(SESSIONS)?.iter() {
            let (id, value) = entry.context("cannot read the sessions")?;
            let id = id.0.get();
            let value = value.0;
            let receive = value.receive();
            sessions.install(
                id,
                Installed {
                    slot: receive.slot(),
                    visible: receive.visible_ifindex(),
                    hidden: receive.hidden_ifindex(),
                    value,
                },
            );
        }
        let installed = sessions.installed.values();
        sessions
            .rows
            .adopt(object, installed.map(|it| *it.value.receive()))?;
        for entry in object.hash::<u32, Transmit>(INTERFACES)?.iter() {
            let (ifindex, _) = entry.context("cannot read the interfaces")?;
            sessions.interfaces.entry(ifindex.0).or_default();
        }
        for entry in object.hash::<EndpointKey, u32>(ENDPOINTS)?.iter() {
            let (key, _) = entry.context("cannot read the endpoints")?;
            sessions.endpoints.insert(key.0);
        }
        sessions.reassembled.set_endpoints(&sessions.endpoints);
        Ok(sessions)
    }

    pub(crate) fn reassembled(&self) -> &Reassembled {
        &self.reassembled
    }

    /// How many sessions there are.
    pub(crate) fn count(&self) -> usize {
        self.installed.len()
    }

    /// Writes a session; returns its slot.
    pub(crate) fn set(&mut self, object: &mut Object, session: &Session) -> Result<u32> {
        let id = session.session_id;
        let context = || format!("session {id}");
        ensure!(
            id != 0,
            "session 0 is control (RFC 3931 4.1.1): use another id"
        );
        let slot = self.slot(object, id).with_context(context)?;
        let plan = plan(session, slot);
        let refused = "a cookie has 0, 4 or 8 bytes, and both outer addresses the same family";
        let value = SessionValue::new(&plan)
            .context(refused)
            .with_context(context)?;
        let transmit = Transmit::new(&plan)
            .context(refused)
            .with_context(context)?;

        let mut interfaces = object.hash_mut::<u32, Transmit>(INTERFACES)?;
        for ifindex in [session.hidden_ifindex, session.visible_ifindex] {
            let key = Shared(ifindex);
            if interfaces
                .get(&key, 0)
                .map_or(true, |there| there.0 != transmit)
            {
                interfaces
                    .insert(key, Shared(transmit), 0)
                    .with_context(context)?;
            }
        }
        let before = self.installed.get(&id).copied();
        if before.is_none_or(|before| before.value != value) {
            object
                .hash_mut::<SessionId, SessionValue>(SESSIONS)?
                .insert(Shared(SessionId::new(id)), Shared(value), 0)
                .with_context(context)?;
            self.rows
                .change(object, SessionId::new(id))
                .with_context(context)?;
        }
        self.install(
            id,
            Installed {
                slot,
                visible: session.visible_ifindex,
                hidden: session.hidden_ifindex,
                value,
            },
        );
        if let Some(before) = before {
            self.forget_interfaces(object, before)?;
        }
        Ok(slot)
    }

    /// Whether what is sent from a session's interface has the outer headers that the session says, its cookie among
    /// them.
    pub(crate) fn has_headers(&self, object: &mut Object, session: &Session) -> Result<bool> {
        let Some(transmit) = Transmit::new(&plan(session, 0)) else {
            return Ok(false);
        };
        let interfaces = object.hash_mut::<u32, Transmit>(INTERFACES)?;
        let there = interfaces.get(&Shared(session.visible_ifindex), 0);
        Ok(there.is_ok_and(|there| there.0.outer() == transmit.outer()))
    }

    /// Removes a session; its counters are kept in case it comes back, until
    /// [`Sessions::keep_only`].
    pub(crate) fn remove(&mut self, object: &mut Object, id: u32, visible: u32) -> Result<()> {
        let Some(installed) = self.installed.get(&id).copied() else {
            return Ok(());
        };
        if installed.visible != visible {
            // The id belongs to another interface by now.
            return Ok(());
        }
        let mut sessions = object.hash_mut::<SessionId, SessionValue>(SESSIONS)?;
        gone(sessions.remove(&Shared(SessionId::new(id))))
            .with_context(|| format!("session {id}"))?;
        self.rows
            .remove(object, SessionId::new(id))
            .with_context(|| format!("session {id}"))?;
        self.installed.remove(&id);
        self.reassembled.remove_session(id, visible);
        self.forget_interfaces(object, installed)
    }

    /// Writes the rows of what has changed.
    pub(crate) fn settle(&mut self, object: &mut Object) -> Result<()> {
        let installed = &self.installed;
        self.rows.settle(object, |id| {
            installed.get(&id).map(|it| *it.value.receive())
        })
    }

    /// How many sessions have no row.
    pub(crate) fn without_row(&self) -> usize {
        self.installed.len() - self.rows.count()
    }

    /// Removes the sessions, counters and interfaces that are none of these sessions'. Returns how
    /// many sessions that were.
    pub(crate) fn keep_only(&mut self, object: &mut Object, ids: &HashSet<u32>) -> Result<usize> {
        let unwanted: Vec<(u32, u32)> = self
            .installed
            .iter()
            .filter(|(id, _)| !ids.contains(id))
            .map(|(id, installed)| (*id, installed.visible))
            .collect();
        for (id, visible) in &unwanted {
            self.remove(object, *id, *visible)?;
        }
        let mut interfaces = object.hash_mut::<u32, Transmit>(INTERFACES)?;
        for (ifindex, _) in self.interfaces.extract_if(|_, users| *users == 0) {
            gone(interfaces.remove(&Shared(ifindex)))
                .with_context(|| format!("interface {ifindex}"))?;
        }
        let slots: Vec<(u32, u32)> = self.slots.extract_if(|id, _| !ids.contains(id)).collect();
        for (_, slot) in slots {
            write_traffic(object, slot, 0)?;
            self.free.push(slot);
        }
        Ok(unwanted.len())
    }

    /// The slot of a session's counters: the one it has, or a free one, zeroed.
    fn slot(&mut self, object: &mut Object, id: u32) -> Result<u32> {
        if let Some(slot) = self.slots.get(&id) {
            return Ok(*slot);
        }
        let slot = self
            .free
            .pop()
            .with_context(|| format!("no room for more than {MAX_SESSIONS} sessions"))?;
        write_traffic(object, slot, id)?;
        self.slots.insert(id, slot);
        Ok(slot)
    }

    fn install(&mut self, id: u32, now: Installed) {
        for ifindex in [now.visible, now.hidden] {
            *self.interfaces.entry(ifindex).or_default() += 1;
        }
        self.reassembled.set_session(id, now.value);
        self.installed.insert(id, now);
    }

    /// Takes a session off its former interfaces; removes the entries that nothing uses any more.
    fn forget_interfaces(&mut self, object: &mut Object, before: Installed) -> Result<()> {
        let mut interfaces = object.hash_mut::<u32, Transmit>(INTERFACES)?;
        for ifindex in [before.visible, before.hidden] {
            let Some(users) = self.interfaces.get_mut(&ifindex) else {
                continue;
            };
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.interfaces.remove(&ifindex);
                gone(interfaces.remove(&Shared(ifindex)))
                    .with_context(|| format!("interface {ifindex}"))?;
            }
        }
        Ok(())
    }

    pub(crate) fn set_endpoints(
        &mut self,
        object: &mut Object,
        endpoints: &[Endpoint],
    ) -> Result<()> {
        let wanted: HashSet<EndpointKey> = endpoints.iter().flat_map(keys).collect();
        let mut map = object.hash_mut::<EndpointKey, u32>(ENDPOINTS)?;
        for key in wanted.difference(&self.endpoints) {
            map.insert(Shared(*key), Shared(1), 0)
                .context("cannot write the endpoints")?;
        }
        for key in self.endpoints.difference(&wanted) {
            gone(map.remove(&Shared(*key))).context("cannot remove an endpoint")?;
        }
        self.reassembled.set_endpoints(&wanted);
        self.endpoints = wanted;
        Ok(())
    }

    /// The sessions with the slots of their counters.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, u32)> {
        self.installed
            .iter()
            .map(|(id, installed)| (*id, installed.slot))
    }
}

/// Zeroes a slot's counters and writes down whose they are.
fn write_traffic(object: &mut Object, slot: u32, id: u32) -> Result<()> {
    let zero = Shared(Traffic {
        session: u64::from(id),
        ..Traffic::default()
    });
    let cpus = vec![zero; aya::util::nr_cpus().map_err(|(_, e)| e)?];
    object
        .array_mut::<Traffic>(TRAFFIC)?
        .set(slot, cpus.try_into()?, 0)
        .with_context(|| format!("cannot write the counters of session {id}"))?;
    let mut refused = object.hash_mut::<SessionReason, u64>(BY_SESSION)?;
    for reason in Reason::ALL {
        gone(refused.remove(&Shared(SessionReason::new(slot, reason))))
            .with_context(|| format!("cannot zero what session {id} has refused"))?;
    }
    object
        .plain_array_mut::<Numbers>(NUMBERS)?
        .set(slot, Shared(Numbers::default()), 0)
        .with_context(|| format!("cannot write the sequence numbers of session {id}"))
}

/// The session in the words of the shared crate.
fn plan(session: &Session, slot: u32) -> SessionPlan<'_> {
    SessionPlan {
        id: session.session_id,
        local: session.local,
        remote: session.remote,
        ports: match session.encapsulation {
            Encapsulation::Udp {
                local_port,
                remote_port,
            } => Some((local_port, remote_port)),
            Encapsulation::Ip => None,
        },
        peer_session_id: session.peer_session_id,
        send_cookie: session.send_cookie.bytes(),
        receive_cookie: session.receive_cookie.bytes(),
        previous_cookie: session.previous_cookie.as_ref().map(Cookie::bytes),
        sublayer: session.sublayer == Sublayer::Default,
        form: session.form,
        visible_ifindex: session.visible_ifindex,
        hidden_ifindex: session.hidden_ifindex,
        underlay_ifindex: session.underlay_ifindex,
        next_hop: session.next_hop,
        slot,
    }
}

/// An endpoint's own key, and the one under which its fragments are found.
fn keys(endpoint: &Endpoint) -> [EndpointKey; 2] {
    let v6 = matches!(endpoint.address, IpAddr::V6(_));
    let address = Address::from(endpoint.address);
    let key = match endpoint.kind {
        EndpointKind::Udp { port } => {
            EndpointKey::new(address, Carrier::new(v6, true), port.to_be_bytes())
        }
        EndpointKind::Ip => EndpointKey::new(address, Carrier::new(v6, false), [0; 2]),
    };
    [key, key.of_fragments()]
}

/// Removing what is not there is no error.
fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}
