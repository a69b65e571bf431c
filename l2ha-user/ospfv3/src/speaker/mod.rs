//! A router.

mod core;
mod originated;
mod originator;
mod restart;
mod route_table;
mod router;
mod views;

pub use core::PastHelp;
pub use restart::RestartView;
pub use route_table::Routes;
pub use router::{PathFailure, PathOutcome, Speaker};
pub use views::{
    AreaView, AuthView, DatabaseView, GracefulView, HelpView, InterfaceView, LsaView, NeighborView,
};
