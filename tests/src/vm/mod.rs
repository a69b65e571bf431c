//! Virtual machines with a Linux of Debian's, 6.1 if nothing else is asked for: its own `l2tp_eth` is
//! the other end of our pseudowires, which settles what has to be on the wire.

mod agent;
mod archive;
mod debian;
mod frr;
mod image;
mod join;
mod kernel;
mod machine;
mod pseudowire;
mod transfer;

pub use debian::SERIES;
pub use frr::VmFrr;
pub use image::stripped;
pub use join::join_vm;
pub use machine::{Extras, Vm};
pub use pseudowire::Pseudowire;
pub use transfer::{Data, Times};
