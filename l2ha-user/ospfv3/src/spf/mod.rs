//! The route calculation, RFC 5340 4.8: pure functions of databases and our own links.

mod alternate;
mod calculation;
mod claims;
mod external;
mod input;
mod inter_area;
mod route;
mod schedule;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod ways;

pub use alternate::Alternates;
pub(crate) use alternate::Neighborhood;
pub(crate) use calculation::{Calculation, Input, demands_trees};
pub(crate) use input::{AreaInput, LinkLocal, RootLink};
pub(crate) use route::{BoundaryRoute, INFINITY};
pub use route::{Nexthop, PathKind, Route};
pub(crate) use schedule::Schedule;
