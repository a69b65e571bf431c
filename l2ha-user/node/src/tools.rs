//! What every part of the node works with.

use dataplane::DataPlane;
use linux::Netlink;

use crate::{journal::Journal, repair::Repairs};

/// Handed to whatever changes the kernel.
pub(crate) struct Tools {
    pub(crate) netlink: Netlink,
    pub(crate) plane: DataPlane,
    pub(crate) journal: Journal,
    pub(crate) repairs: Repairs,
}
