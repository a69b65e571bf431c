//! Requests and answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::watch::{Direction, Side};

/// Version of the answers' form. Fields may be added under the same version; one that goes or
/// changes its meaning makes a new one.
pub const VERSION: u32 = 1;

/// A question to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is asked.
    pub command: Command,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// The node as a whole: [`crate::Status`].
    Status,
    /// Every session: a list of [`crate::SessionStatus`].
    Sessions,
    /// The interfaces of OSPF.
    OspfInterfaces,
    /// OSPF neighbours.
    OspfNeighbors,
    /// The link-state database.
    OspfDatabase,
    /// The routes OSPF has computed.
    OspfRoutes,
    /// BFD and its sessions.
    Bfd,
    /// Makes the node the last resort, or ends that: an object with `node`, `drained` and `changed`.
    Drain {
        /// Whether it shall be.
        on: bool,
    },
    /// Refused packets as they come: a stream of [`crate::Line`]s.
    Monitor {
        /// Names of reasons; all when there is none.
        reasons: Vec<String>,
    },
    /// Packets of sessions as they come: a stream of [`crate::Line`]s.
    Capture {
        /// Name of the tunnel; all when there is none.
        tunnel: Option<String>,
        /// With or without outer headers.
        side: Side,
        /// Which way.
        direction: Direction,
        /// How much of each packet, in bytes.
        snaplen: u32,
    },
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// Whether there is `data`; otherwise there is `error`.
    pub ok: bool,
    /// What was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Why it cannot be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Answer {
    /// An answer with data.
    pub fn data(data: &impl Serialize) -> Self {
        match serde_json::to_value(data) {
            Ok(data) => Self {
                version: VERSION,
                ok: true,
                data: Some(data),
                error: None,
            },
            Err(error) => Self::error(format!("the answer cannot be written as JSON: {error}")),
        }
    }

    /// An answer that says why there is no data.
    pub fn error(error: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            ok: false,
            data: None,
            error: Some(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_on_the_socket_stay_as_they_are() {
        let request = |command| serde_json::to_string(&Request { command }).unwrap();
        assert_eq!(request(Command::Status), r#"{"command":"status"}"#);
        assert_eq!(request(Command::Sessions), r#"{"command":"sessions"}"#);
        let reasons = vec!["wrong_cookie".to_owned()];
        assert_eq!(
            request(Command::Monitor { reasons }),
            r#"{"command":{"monitor":{"reasons":["wrong_cookie"]}}}"#
        );
        assert_eq!(
            request(Command::OspfNeighbors),
            r#"{"command":"ospf-neighbors"}"#
        );
        assert_eq!(
            request(Command::OspfDatabase),
            r#"{"command":"ospf-database"}"#
        );
        assert_eq!(request(Command::OspfRoutes), r#"{"command":"ospf-routes"}"#);
        assert_eq!(
            request(Command::Drain { on: true }),
            r#"{"command":{"drain":{"on":true}}}"#
        );
        assert_eq!(
            serde_json::to_string(&Answer::data(&[1])).unwrap(),
            r#"{"version":1,"ok":true,"data":[1]}"#
        );
        assert_eq!(
            serde_json::to_string(&Answer::error("no")).unwrap(),
            r#"{"version":1,"ok":false,"error":"no"}"#
        );
    }
}
