//! Which node of a cluster this host is.

use anyhow::{Context as _, Result};
use config::Who;

/// This host, as the node of that name if it is told.
///
/// # Errors
///
/// When the kernel does not say what addresses this host has.
pub fn who(node: Option<String>) -> Result<Who> {
    let addresses = linux::host_addresses().context("cannot list this host's addresses")?;
    Ok(Who { node, addresses })
}
