//! Rotations of what the ends of tunnels share: which cookie is sent, and who still uses the former secret.

use config::{Config, Tunnel};
use control::RotationStatus;
use dataplane::Session;
use routing::{RotationState, Rotations};

use crate::{tools::Tools, tunnels::Tunnels};

/// How far the peer of a tunnel with this virtual interface is, if it was heard since this rotation began.
pub(crate) fn state(
    tunnel: &Tunnel,
    interface: u32,
    rotations: &Rotations,
) -> Option<RotationState> {
    let former = tunnel.ospf_key.as_ref()?.former.as_ref()?;
    let state = rotations.get(&interface).copied();
    state.filter(|state| state.former == former.sa_id)
}

impl Tunnels {
    /// Sends the cookies that the peers accept.
    pub(crate) fn follow_rotations(
        &mut self,
        config: &Config,
        tools: &mut Tools,
        rotations: &Rotations,
    ) {
        for tunnel in &config.tunnels {
            let Some(former) = &tunnel.previous_send_cookie else {
                continue;
            };
            let Some(up) = self.up_mut(&tunnel.name) else {
                continue;
            };
            let Some(state) = state(tunnel, up.interface, rotations) else {
                continue;
            };
            let cookie = match state.accepted {
                true => &tunnel.send_cookie,
                false => former,
            };
            if up.session.send_cookie == *cookie {
                continue;
            }
            let session = Session {
                send_cookie: cookie.clone(),
                ..up.session.clone()
            };
            match tools.plane.set_session(&session) {
                Ok(()) => up.session = session,
                Err(error) => tracing::error!(
                    tunnel = tunnel.name,
                    error = format!("{error:#}"),
                    "cannot send the cookie that the peer accepts; trying again"
                ),
            }
        }
    }

    /// How far the rotation is, if there is one.
    pub(crate) fn rotation(
        &self,
        config: &Config,
        rotations: &Rotations,
    ) -> Option<RotationStatus> {
        let mut status = RotationStatus::default();
        for tunnel in &config.tunnels {
            if tunnel.rotation().is_none() {
                continue;
            }
            let interface = self.up(&tunnel.name).map(|up| up.interface);
            let state = interface.and_then(|index| state(tunnel, index, rotations));
            let name = tunnel.name.clone();
            match state {
                Some(state) if state.accepted && state.used => status.present.push(name),
                Some(_) => status.former.push(name),
                None => status.unheard.push(name),
            }
        }
        (status != RotationStatus::default()).then_some(status)
    }
}
