//! What is wrong: a problem is one thing with one name, for status, log and whoever reads `--json`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// All that is configured works.
    #[default]
    Healthy,
    /// What this node serves is served, but something is less than configured.
    Degraded,
    /// It does not do its work.
    Failed,
}

impl Health {
    /// That of a node with these problems.
    #[must_use]
    pub fn of(problems: &[Problem]) -> Self {
        let worst = problems.iter().map(|problem| problem.severity).max();
        match worst {
            None => Self::Healthy,
            Some(Severity::Degraded) => Self::Degraded,
            Some(Severity::Failed) => Self::Failed,
        }
    }

    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something is less than configured.
    Degraded,
    /// The node, or a service of it, does not do its work.
    Failed,
}

impl Severity {
    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The node as a whole.
    Node,
    /// The network that carries the pseudowires.
    Underlay,
    /// The service of this name.
    Service(String),
    /// The tunnel of this name.
    Tunnel(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Underlay => f.write_str("underlay"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Tunnel(name) => write!(f, "tunnel {name}"),
        }
    }
}

/// The ids, each with its name. `docs/problems.md` has a row for each.
macro_rules! problem_ids {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Which problem it is: a name that does not change between versions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ProblemId {
            $($(#[$doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl ProblemId {
            /// All of them. Of two that are equally bad, the one that comes first here is shown first.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

problem_ids! {
    /// The check of a service fails.
    ServiceFailed = "service-failed",
    /// A service is healthy, and its address is not advertised.
    ServiceNotAdvertised = "service-not-advertised",
    /// The underlay's interface is missing, down, or lacks an address.
    UnderlayUnusable = "underlay-unusable",
    /// No program takes the tunnels' packets from the underlay.
    ProgramMissing = "program-missing",
    /// The routing thread has ended; it is started again.
    RoutingEnded = "routing-ended",
    /// The routing thread does not answer.
    RoutingSilent = "routing-silent",
    /// Another router has this node's Router ID.
    RouterIdDoubled = "router-id-doubled",
    /// Packets come from this node's own address: the other end has the same names and the same outer address.
    NamesDoubled = "names-doubled",
    /// Somebody undoes what the daemon puts right.
    RepairUndone = "repair-undone",
    /// The virtual interface of a tunnel, or its session, cannot be made.
    TunnelNotInPlace = "tunnel-not-in-place",
    /// No route of the underlay leads to the peer.
    NoRoute = "no-route",
    /// The peer's packets have another cookie.
    CookieRefused = "cookie-refused",
    /// The two ends have no secret in common.
    SecretMismatch = "secret-mismatch",
    /// The peer sends a session id that no tunnel here has.
    SessionUnknown = "session-unknown",
    /// The session's packets come from another address than the tunnel's `remote`.
    RemoteMismatch = "remote-mismatch",
    /// The peer's packets come from another UDP port.
    PortMismatch = "port-mismatch",
    /// The peer's packets have another form: numbering, checksum, version or lengths.
    FormMismatch = "form-mismatch",
    /// Nothing comes over the tunnel.
    TunnelSilent = "tunnel-silent",
    /// The peer's packets come, and it does not hear ours.
    PeerDeaf = "peer-deaf",
    /// The two ends are in different areas.
    OspfAreaMismatch = "ospf-area-mismatch",
    /// The area is a stub for one end only.
    OspfAreaTypeMismatch = "ospf-area-type-mismatch",
    /// The two ends differ in `hello_interval`.
    OspfHelloMismatch = "ospf-hello-mismatch",
    /// The two ends differ in `dead_interval`.
    OspfDeadMismatch = "ospf-dead-mismatch",
    /// The two ends run other instances of OSPF.
    OspfInstanceMismatch = "ospf-instance-mismatch",
    /// OSPF's packets are not signed as configured.
    OspfKeyMismatch = "ospf-key-mismatch",
    /// The peer's MTU is larger than ours.
    OspfMtuMismatch = "ospf-mtu-mismatch",
    /// A network has more neighbours than one may have.
    OspfTooManyNeighbors = "ospf-too-many-neighbors",
    /// A neighbour or a router behind it has more LSAs than one may have.
    OspfTooManyLsas = "ospf-too-many-lsas",
    /// A neighbour at the edge says what is not its own, or is not the one that belongs there.
    OspfEdge = "ospf-edge",
    /// OSPF refuses what a neighbour says, for another reason.
    OspfRefused = "ospf-refused",
    /// OSPF's packets arrive at the interface, and not at the daemon.
    OspfUnheard = "ospf-unheard",
    /// Frames arrive, and none of OSPF.
    PeerWithoutOspf = "peer-without-ospf",
    /// A neighbour is there, and the adjacency does not come up.
    AdjacencyStuck = "adjacency-stuck",
    /// There is no adjacency yet.
    AdjacencyMissing = "adjacency-missing",
    /// The adjacency comes and goes.
    AdjacencyFlaps = "adjacency-flaps",
    /// A neighbour sends no BFD.
    BfdOneSided = "bfd-one-sided",
    /// BFD's packets are not signed as configured.
    BfdKeyMismatch = "bfd-key-mismatch",
    /// BFD is not up with a neighbour.
    BfdDown = "bfd-down",
    /// The kernel refuses to send what OSPF has to say.
    SendRefused = "send-refused",
    /// The kernel refuses routes.
    RouteRefused = "route-refused",
    /// Neighbours advertise what is nobody's, or this host's own.
    RouteNotInstalled = "route-not-installed",
    /// The peer's packets, or ours, are larger than the underlay carries.
    TunnelMtu = "tunnel-mtu",
    /// A setting of the virtual interface cannot be set, and the tunnel works without it.
    SettingRefused = "setting-refused",
    /// A service's check has not passed yet.
    ServiceWaiting = "service-waiting",
    /// Another process has the port.
    PortTaken = "port-taken",
    /// A changed configuration was refused.
    ReloadRefused = "reload-refused",
    /// What the next start needs to know cannot be written down.
    StateNotKept = "state-not-kept",
    /// This node was taken out of the cluster, or another host has its name.
    MembershipLost = "membership-lost",
    /// etcd cannot be reached.
    MembershipAway = "membership-away",
    /// This node cannot register at etcd, or the list of nodes cannot be written down.
    MembershipUnwritten = "membership-unwritten",
    /// More than a third of the nodes would go at once, and wait for `l2ha accept`.
    MembersWait = "members-wait",
    /// Nodes that joined are absent.
    MemberAbsent = "member-absent",
    /// A node that joined is no part of the cluster.
    MemberRefused = "member-refused",
    /// The log's reader is too slow, and lines are lost.
    LogLost = "log-lost",
}

impl fmt::Display for ProblemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which problem.
    pub id: ProblemId,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// What is so.
    pub text: String,
    /// What to do about it: the line to change, and at which node.
    pub remedy: String,
    /// For how many milliseconds it has been so.
    #[serde(default)]
    pub since_ms: u64,
}

impl Problem {
    /// Puts the worst first.
    pub fn sort(problems: &mut [Self]) {
        problems.sort_by(|a, b| {
            let worst = b.severity.cmp(&a.severity);
            worst.then_with(|| (a.id, &a.subject).cmp(&(b.id, &b.subject)))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn problem(id: ProblemId, severity: Severity) -> Problem {
        Problem {
            id,
            severity,
            subject: Subject::Tunnel("client".to_owned()),
            text: "it is so".to_owned(),
            remedy: "mend it".to_owned(),
            since_ms: 7,
        }
    }

    #[test]
    fn the_words_on_the_socket_stay_as_they_are() {
        let shown = serde_json::to_string(&problem(ProblemId::CookieRefused, Severity::Degraded));
        assert_eq!(
            shown.unwrap(),
            r#"{"id":"cookie-refused","severity":"degraded","subject":{"tunnel":"client"},"text":"it is so","remedy":"mend it","since_ms":7}"#
        );
        assert_eq!(serde_json::to_string(&Subject::Node).unwrap(), r#""node""#);
        assert_eq!(
            serde_json::to_string(&Health::Failed).unwrap(),
            r#""failed""#
        );
    }

    #[test]
    fn ids_are_words_of_their_own() {
        let names: BTreeSet<&str> = ProblemId::ALL.iter().map(|id| id.name()).collect();
        assert_eq!(names.len(), ProblemId::ALL.len());
        for id in ProblemId::ALL {
            let json = serde_json::to_string(id).unwrap();
            assert_eq!(json, format!("\"{id}\""));
            let word = |c: u8| c == b'-' || c.is_ascii_lowercase();
            assert!(id.name().bytes().all(word), "{id}");
        }
    }

    #[test]
    fn the_worst_comes_first_and_decides() {
        let mut all = [
            problem(ProblemId::LogLost, Severity::Degraded),
            problem(ProblemId::CookieRefused, Severity::Degraded),
            problem(ProblemId::RoutingEnded, Severity::Failed),
        ];
        assert_eq!(Health::of(&all[..1]), Health::Degraded);
        assert_eq!(Health::of(&all), Health::Failed);
        assert_eq!(Health::of(&[]), Health::Healthy);
        Problem::sort(&mut all);
        let ids = all.map(|it| it.id);
        let wanted = [
            ProblemId::RoutingEnded,
            ProblemId::CookieRefused,
            ProblemId::LogLost,
        ];
        assert_eq!(ids, wanted);
    }
}
