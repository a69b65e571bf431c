//! Sessions and endpoints, as they are in the maps.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::MapError;
use l2ha_ebpf::abi::{
    Address, Carrier, EndpointKey, MAX_SESSIONS, Receive, SessionId, SessionPlan, Traffic, Transmit,
};

use super::{
    Encapsulation, Endpoint, EndpointKind, Session, Sublayer,
    object::{Object, Shared},
};

const SESSIONS: &str = "SESSIONS";
const ENDPOINTS: &str = "ENDPOINTS";
const INTERFACES: &str = "INTERFACES";
pub(super) const TRAFFIC: &str = "TRAFFIC";

/// What was written to the maps.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    installed: BTreeMap<u32, Installed>,
    endpoints: HashSet<EndpointKey>,
}

#[derive(Clone, Copy, Debug)]
struct Installed {
    slot: u32,
    visible: u32,
    hidden: u32,
}

impl Sessions {
    pub(super) fn set(&mut self, object: &mut Object, session: &Session) -> Result<()> {
        let id = session.session_id;
        let context = || format!("session {id}");
        ensure!(
            id != 0,
            "session 0 is control (RFC 3931 4.1.1): use another id"
        );
        let before = self.installed.get(&id).copied();
        let slot = match before {
            Some(before) => before.slot,
            None => self.free_slot().with_context(context)?,
        };
        let plan = plan(session, slot);
        let refused = "a cookie has 0, 4 or 8 bytes, and both outer addresses the same family";
        let receive = Receive::new(&plan).context(refused).with_context(context)?;
        let transmit = Transmit::new(&plan)
            .context(refused)
            .with_context(context)?;

        if before.is_none() {
            let mut traffic = object.array_mut::<Traffic>(TRAFFIC)?;
            let zero = vec![Shared(Traffic::default()); aya::util::nr_cpus().map_err(|(_, e)| e)?];
            traffic
                .set(slot, zero.try_into()?, 0)
                .with_context(context)?;
        }
        let mut interfaces = object.hash_mut::<u32, Transmit>(INTERFACES)?;
        for ifindex in [session.hidden_ifindex, session.visible_ifindex] {
            interfaces
                .insert(Shared(ifindex), Shared(transmit), 0)
                .with_context(context)?;
        }
        object
            .hash_mut::<SessionId, Receive>(SESSIONS)?
            .insert(Shared(SessionId::new(id)), Shared(receive), 0)
            .with_context(context)?;
        let now = Installed {
            slot,
            visible: session.visible_ifindex,
            hidden: session.hidden_ifindex,
        };
        self.installed.insert(id, now);
        if let Some(before) = before {
            self.forget_interfaces(object, before)?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, object: &mut Object, id: u32, visible: u32) -> Result<()> {
        let Some(installed) = self.installed.get(&id).copied() else {
            return Ok(());
        };
        if installed.visible != visible {
            // The id belongs to another interface by now.
            return Ok(());
        }
        let mut sessions = object.hash_mut::<SessionId, Receive>(SESSIONS)?;
        gone(sessions.remove(&Shared(SessionId::new(id))))
            .with_context(|| format!("session {id}"))?;
        self.installed.remove(&id);
        self.forget_interfaces(object, installed)
    }

    /// Removes the entries of a session's former interfaces that nothing uses any more.
    fn forget_interfaces(&self, object: &mut Object, before: Installed) -> Result<()> {
        let mut interfaces = object.hash_mut::<u32, Transmit>(INTERFACES)?;
        for ifindex in [before.visible, before.hidden] {
            let used = self
                .installed
                .values()
                .any(|installed| [installed.visible, installed.hidden].contains(&ifindex));
            if !used {
                gone(interfaces.remove(&Shared(ifindex)))
                    .with_context(|| format!("interface {ifindex}"))?;
            }
        }
        Ok(())
    }

    pub(super) fn set_endpoints(
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
        self.endpoints = wanted;
        Ok(())
    }

    /// The sessions with the slots of their counters.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, u32)> {
        self.installed
            .iter()
            .map(|(id, installed)| (*id, installed.slot))
    }

    fn free_slot(&self) -> Result<u32> {
        let used: HashSet<u32> = self.slots().map(|(_, slot)| slot).collect();
        (0..MAX_SESSIONS)
            .find(|slot| !used.contains(slot))
            .with_context(|| format!("no room for more than {MAX_SESSIONS} sessions"))
    }
}

/// The session in the words of the shared crate.
fn plan(session: &Session, slot: u32) -> SessionPlan<'_> {
    SessionPlan {
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
        sublayer: session.sublayer == Sublayer::Default,
        visible_ifindex: session.visible_ifindex,
        hidden_ifindex: session.hidden_ifindex,
        underlay_ifindex: session.underlay_ifindex,
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
