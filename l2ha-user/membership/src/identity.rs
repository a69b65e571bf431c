//! What this host has joined as, kept for its life: `self.toml` in the state folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use linux::state;
use serde::{Deserialize, Serialize};

use crate::record::Id;

/// What this host has joined as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Name of the node.
    pub name: String,
    /// Tells this host from any other that was or will be called so.
    pub id: Id,
    /// Of its last record.
    pub serial: u64,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    ///
    /// When the kernel has no random bytes.
    pub(crate) fn new(name: &str, serial: u64) -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| anyhow!("the kernel gives no random bytes: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            id: Id::new(bytes),
            serial,
        })
    }

    /// What this host has joined as, if it has.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or others can have written it.
    pub(crate) fn load(folder: &Path) -> Result<Option<Self>> {
        let path = path(folder);
        let cannot = || format!("cannot read {}; remove it to join anew", path.display());
        let Some(bytes) = state::read(&path).with_context(cannot)? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes).with_context(cannot)?;
        toml::from_str(&text).map(Some).with_context(cannot)
    }

    /// Writes it down.
    ///
    /// # Errors
    ///
    /// When there is no room, or the folder belongs to somebody else.
    pub(crate) fn store(&self, folder: &Path) -> Result<()> {
        let path = path(folder);
        let cannot = || format!("cannot write {}", path.display());
        state::ensure_folder(folder).with_context(cannot)?;
        let text = toml::to_string(self).with_context(cannot)?;
        state::write(&path, text.as_bytes()).with_context(cannot)
    }

    /// Forgets it.
    ///
    /// # Errors
    ///
    /// When the file cannot be removed.
    pub(crate) fn remove(folder: &Path) -> Result<()> {
        let path = path(folder);
        state::remove(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(config::SELF_FILE)
}
