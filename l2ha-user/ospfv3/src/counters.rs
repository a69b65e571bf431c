//! Everything is counted: what came, what went, and every refusal under its reason.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::graceful::{HelpEnd, HelpRefusal, RestartEnd};
use crate::refusal::Refusal;
use crate::wire::PacketType;

/// Packets by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct PacketCounters {
    /// Hello packets.
    pub hello: u64,
    /// Database Description packets.
    pub database_description: u64,
    /// Link State Request packets.
    pub link_state_request: u64,
    /// Link State Update packets.
    pub link_state_update: u64,
    /// Link State Acknowledgment packets.
    pub link_state_ack: u64,
}

impl PacketCounters {
    pub(crate) fn add(&mut self, packet_type: PacketType) {
        let counter = match packet_type {
            PacketType::Hello => &mut self.hello,
            PacketType::DatabaseDescription => &mut self.database_description,
            PacketType::LinkStateRequest => &mut self.link_state_request,
            PacketType::LinkStateUpdate => &mut self.link_state_update,
            PacketType::LinkStateAck => &mut self.link_state_ack,
        };
        *counter += 1;
    }
}

/// Graceful restarts (RFC 5187).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct GracefulCounters {
    /// Restarts of neighbours that we began to help with.
    pub helps_begun: u64,
    /// Helps that ended, by reason.
    pub helps_ended: BTreeMap<HelpEnd, u64>,
    /// Grace-LSAs of neighbours that we did not help, by reason.
    pub helps_refused: BTreeMap<HelpRefusal, u64>,
    /// How often BFD or the like declared a neighbour down that we were helping.
    pub deaths_ignored: u64,
    /// Our own restarts that ended, by reason.
    pub restarts_ended: BTreeMap<RestartEnd, u64>,
    /// Grace-LSAs that a neighbour has never acknowledged: it does not help.
    pub unacknowledged: u64,
}

/// All counters of a speaker. They only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Counters {
    /// Packets handed to [`poll_transmit`](crate::Speaker::poll_transmit).
    pub sent: PacketCounters,
    /// Packets that passed the header checks.
    pub received: PacketCounters,
    /// Refusals by reason; a reason that never happened is absent.
    pub refused: BTreeMap<Refusal, u64>,
    /// Own LSAs originated, new instances and refreshes together.
    pub lsas_originated: u64,
    /// Own LSAs flushed by premature aging.
    pub lsas_flushed: u64,
    /// LSAs of others installed.
    pub lsas_installed: u64,
    /// LSAs of others that reached MaxAge here.
    pub lsas_aged_out: u64,
    /// LSAs sent again because no acknowledgment came.
    pub lsas_retransmitted: u64,
    /// LSAs that a neighbour was not sent at once because others tell it of them.
    #[serde(default)]
    pub floods_waited: u64,
    /// Our own LSAs that came back newer than we knew: from before a restart, or of another router with our Router ID.
    pub self_originated_received: u64,
    /// Neighbour events that the state does not expect.
    pub unexpected_neighbor_events: u64,
    /// Adjacencies that became Full.
    pub adjacencies_formed: u64,
    /// Adjacencies that were Full and are not.
    pub adjacencies_lost: u64,
    /// Graceful restarts, our own and those of neighbours.
    pub graceful: GracefulCounters,
    /// Shortest-path computations.
    pub spf_runs: u64,
    /// Of these, those in which the trees were grown again.
    pub spf_trees: u64,
    /// Prefixes whose route was looked at again.
    pub spf_prefixes: u64,
    /// Events thrown away because they were not fetched.
    pub events_dropped: u64,
}
