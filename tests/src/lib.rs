//! The lab: hosts in network namespaces joined by an emulated unicast-only cloud.

mod ns;
mod process;

pub use ns::Namespace;
pub use process::Process;
