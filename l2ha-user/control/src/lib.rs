//! The control socket's language: one JSON line asked, one JSON line answered (or a stream of them),
//! and the client.

mod bfd;
mod client;
mod explain;
mod members;
mod message;
mod ospf;
mod problem;
mod sessions;
mod status;
mod watch;

pub use self::{
    bfd::{BfdSession, BfdStatus},
    client::{Reply, ask, connect, understand},
    explain::{Explanation, Step, Verdict},
    members::{Member, MemberState, Membership, RefusedMember},
    message::{Answer, Command, Drained, ReloadChange, Reloaded, Request, Returns, VERSION},
    ospf::{
        DoubledRouterId, InFamily, KeptOut, KernelRoutes, NotInstalled, OspfInstance,
        OspfInterface, OspfNexthop, OspfRefused, OspfRoute, OspfStatus, Twin,
    },
    problem::{Health, Problem, ProblemId, Severity, Subject},
    sessions::SessionStatus,
    status::{
        DataplaneStatus, HealthState, RotationStatus, ServiceHealth, ServiceStatus, Status,
        TunnelStatus, UnderlayStatus,
    },
    watch::{CapturedFrame, Direction, Line, Missed, RefusedPacket, Side, from_hex, to_hex},
};
