//! What is wrong with this node: facts, what follows from them, and what was said of it.

mod facts;
mod growth;
mod judge;
mod members;
mod observer;
mod refusals;
mod registry;
mod router_ids;
mod samples;
mod secrets;
mod tunnels;

pub(crate) use self::{
    facts::NodeFacts,
    judge::judge,
    observer::{Observer, Routes, RoutingViews, Views},
    registry::Registry,
};
