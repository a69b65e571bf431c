//! Bidirectional Forwarding Detection: asynchronous mode (RFC 5880) for a single hop (RFC 5881).
//!
//! A [`Session`] is told what time it is and what arrived, and says what to send, when to wake it
//! and what has changed. It does no I/O and reads no clock.

mod auth;
mod packet;
mod session;

pub use auth::{Algorithm, Authenticator, Key, Refused};
pub use packet::{DecodeError, Diagnostic, PACKET_LENGTH, Packet, State};
pub use session::{Config, Counters, Event, Refusal, Session, SessionView, Time, Timers};
