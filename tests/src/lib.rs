//! The lab: hosts in network namespaces joined by an emulated unicast-only cloud.

mod cloud;
mod lab;
mod ns;
mod process;

pub use cloud::{Cloud, CloudOptions, GATEWAY_V4, GATEWAY_V6, Host, UNDERLAY};
pub use lab::{Lab, Resident, target_dir, wait_for};
pub use ns::Namespace;
pub use process::Process;
