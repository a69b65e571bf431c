//! What `bfd` answers.

use std::{collections::BTreeMap, net::Ipv6Addr};

use bfd::{Algorithm, SessionView};
use serde::{Deserialize, Serialize};

/// BFD as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BfdStatus {
    /// Whether its thread runs before all ordinary processes.
    pub real_time: bool,
    /// How often the thread was woken later than a session's interval.
    pub late_wakes: u64,
    /// The latest it ever was, in microseconds.
    pub latest_wake_us: u64,
    /// The sessions.
    pub sessions: Vec<BfdSession>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BfdSession {
    /// Name of the interface.
    pub interface: String,
    /// Our address.
    pub local: Ipv6Addr,
    /// The neighbour's.
    pub remote: Ipv6Addr,
    /// How often to send, as it is configured, in milliseconds.
    pub interval_ms: f64,
    /// How many packets may be missed.
    pub multiplier: u8,
    /// Number and algorithm of the key that signs.
    pub key: Option<(u8, Algorithm)>,
    /// What BFD says of it.
    #[serde(flatten)]
    pub session: SessionView,
    /// Packets that were none of this session's, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Sends that the kernel refused.
    pub send_errors: u64,
}

#[cfg(test)]
mod tests {
    use bfd::{Counters, Diagnostic, State};

    use super::*;

    #[test]
    fn what_is_shown_stays_as_it_is() {
        let session = BfdSession {
            interface: "l2-client".to_owned(),
            local: "fe80::2".parse().unwrap(),
            remote: "fe80::1".parse().unwrap(),
            interval_ms: 10.0,
            multiplier: 3,
            key: Some((7, Algorithm::KeyedSha1)),
            session: SessionView {
                state: State::Up,
                remote_state: State::AdminDown,
                diagnostic: Diagnostic::DetectionTimeExpired,
                remote_diagnostic: Diagnostic::Other(9),
                discriminator: 1,
                remote_discriminator: 2,
                transmit_interval_us: 10_000,
                detection_time_us: 30_000,
                counters: Counters::default(),
            },
            refused: BTreeMap::from([("auth_digest".to_owned(), 4)]),
            send_errors: 5,
        };
        let view = BfdStatus {
            real_time: true,
            late_wakes: 0,
            latest_wake_us: 130,
            sessions: vec![session],
        };
        let shown = serde_json::to_value(&view).unwrap().to_string();
        assert_eq!(serde_json::from_str::<BfdStatus>(&shown).unwrap(), view);
        assert_eq!(
            shown,
            [
                r#"{"late_wakes":0,"latest_wake_us":130,"real_time":true,"sessions":[{"#,
                r#""counters":{"downs":0,"own_pauses":0,"probes":0,"probes_answered":0,"received":0,"refused":0,"sent":0,"ups":0},"#,
                r#""detection_time_us":30000,"diagnostic":"detection_time_expired","discriminator":1,"interface":"l2-client","#,
                r#""interval_ms":10.0,"key":[7,"keyed-sha1"],"local":"fe80::2","multiplier":3,"#,
                r#""refused":{"auth_digest":4},"remote":"fe80::1","remote_diagnostic":{"other":9},"remote_discriminator":2,"#,
                r#""remote_state":"admin_down","send_errors":5,"state":"up","transmit_interval_us":10000}]}"#,
            ]
            .concat()
        );
    }
}
