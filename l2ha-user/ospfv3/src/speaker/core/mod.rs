//! Interfaces, neighbours and databases: what packets and time do to them.

mod acks;
mod adjacency;
mod aging;
mod areas;
mod authenticate;
pub(crate) mod confirm;
mod describe;
mod designated;
mod exchange;
mod flood;
mod hello;
pub(crate) mod helper;
mod links;
mod output;
mod receive;
mod request;
mod update;
