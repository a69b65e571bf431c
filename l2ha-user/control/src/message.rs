//! Requests and answers.

use std::marker::PhantomData;

use anyhow::Result;
use ospfv3::{LsaView, NeighborView};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    bfd::BfdStatus,
    explain::Explanation,
    members::Membership,
    ospf::{InFamily, OspfInterface, OspfRoute},
    sessions::SessionStatus,
    status::Status,
    watch::{Direction, Side},
};

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

/// The type of a command's answer, for both ends; nothing of it is on the socket.
pub type Returns<T> = PhantomData<T>;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// The node as a whole.
    Status(#[serde(skip)] Returns<Status>),
    /// Every session.
    Sessions(#[serde(skip)] Returns<Vec<SessionStatus>>),
    /// The interfaces of OSPF.
    OspfInterfaces(#[serde(skip)] Returns<Vec<InFamily<OspfInterface>>>),
    /// OSPF neighbours.
    OspfNeighbors(#[serde(skip)] Returns<Vec<InFamily<NeighborView>>>),
    /// The link-state database.
    OspfDatabase(#[serde(skip)] Returns<Vec<InFamily<LsaView>>>),
    /// The routes OSPF has computed.
    OspfRoutes(#[serde(skip)] Returns<Vec<InFamily<OspfRoute>>>),
    /// BFD and its sessions; none without it.
    Bfd(#[serde(skip)] Returns<Option<BfdStatus>>),
    /// Everything that decides about a tunnel, a service or an address.
    Explain {
        /// Name of the tunnel or of the service, or an address.
        what: String,
        /// What it answers.
        #[serde(skip)]
        returns: Returns<Explanation>,
    },
    /// Those who joined the cluster; none where nobody can.
    Members(#[serde(skip)] Returns<Option<Membership>>),
    /// Makes the node, or one of its services, the last resort, or ends that.
    Drain {
        /// Whether it shall be.
        on: bool,
        /// Name of the service; all of the node when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// What it answers.
        #[serde(skip)]
        returns: Returns<Drained>,
    },
    /// Reads the configuration again and applies what has changed.
    Reload {
        /// Whether only what would be done is told.
        dry_run: bool,
        /// What it answers.
        #[serde(skip)]
        returns: Returns<Reloaded>,
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

/// What `drain` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Name of the node.
    pub node: String,
    /// Name of the service, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Whether it is the last resort now.
    pub drained: bool,
    /// Whether that is a change.
    pub changed: bool,
}

/// What `reload` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Name of the node.
    pub node: String,
    /// The file that was read.
    pub config_file: String,
    /// Whether nothing was done: what would be.
    pub dry_run: bool,
    /// What has changed, in the order of the file.
    pub changes: Vec<ReloadChange>,
    /// How long the daemon did nothing else for it, in microseconds.
    pub pause_us: u64,
    /// Whether everything was in place when this was answered: routes may still be moving.
    pub settled: bool,
}

/// A change by a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadChange {
    /// What changes, in words.
    pub what: String,
    /// What it interrupts, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupts: Option<String>,
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
    /// The answer to a command that returns this.
    pub fn to<T: Serialize>(_: Returns<T>, result: Result<T>) -> Self {
        match result {
            Ok(data) => Self::data(&data),
            Err(error) => Self::error(format!("{error:#}")),
        }
    }

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
        assert_eq!(
            request(Command::Status(PhantomData)),
            r#"{"command":"status"}"#
        );
        assert_eq!(
            request(Command::Sessions(PhantomData)),
            r#"{"command":"sessions"}"#
        );
        let reasons = vec!["wrong_cookie".to_owned()];
        assert_eq!(
            request(Command::Monitor { reasons }),
            r#"{"command":{"monitor":{"reasons":["wrong_cookie"]}}}"#
        );
        assert_eq!(
            request(Command::OspfNeighbors(PhantomData)),
            r#"{"command":"ospf-neighbors"}"#
        );
        assert_eq!(
            request(Command::OspfDatabase(PhantomData)),
            r#"{"command":"ospf-database"}"#
        );
        assert_eq!(
            request(Command::Members(PhantomData)),
            r#"{"command":"members"}"#
        );
        assert_eq!(
            request(Command::OspfRoutes(PhantomData)),
            r#"{"command":"ospf-routes"}"#
        );
        assert_eq!(
            request(Command::Drain {
                on: true,
                service: None,
                returns: PhantomData
            }),
            r#"{"command":{"drain":{"on":true}}}"#
        );
        assert_eq!(
            request(Command::Drain {
                on: false,
                service: Some("web".to_owned()),
                returns: PhantomData
            }),
            r#"{"command":{"drain":{"on":false,"service":"web"}}}"#
        );
        assert_eq!(
            request(Command::Explain {
                what: "client".to_owned(),
                returns: PhantomData
            }),
            r#"{"command":{"explain":{"what":"client"}}}"#
        );
        assert_eq!(
            request(Command::Reload {
                dry_run: true,
                returns: PhantomData
            }),
            r#"{"command":{"reload":{"dry_run":true}}}"#
        );
        let answer = Drained {
            node: "server-1".to_owned(),
            service: None,
            drained: true,
            changed: false,
        };
        assert_eq!(
            serde_json::to_string(&Answer::to(PhantomData, Ok(answer))).unwrap(),
            r#"{"version":1,"ok":true,"data":{"changed":false,"drained":true,"node":"server-1"}}"#
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
