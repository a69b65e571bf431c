//! The control socket's language: one JSON line asked, one JSON line answered (or a stream of them),
//! and the client.

mod client;
mod message;
mod sessions;
mod status;
mod watch;

pub use self::{
    client::{ask, connect, understand},
    message::{Answer, Command, Request, VERSION},
    sessions::SessionStatus,
    status::{DataplaneStatus, ServiceStatus, Status, TunnelStatus, UnderlayStatus},
    watch::{CapturedFrame, Direction, Line, Missed, RefusedPacket, Side, from_hex, to_hex},
};
