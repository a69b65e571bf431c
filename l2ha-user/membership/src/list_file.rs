//! The last good list of those who joined, which every start and reload works from: `members.toml` in the state folder.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use config::Joined;
use linux::state;
use serde::{Deserialize, Serialize};

use crate::{
    record::{Gone, Id},
    roster::{Departed, Entry, Members, Roster},
};

/// Version of the file's form.
const VERSION: u32 = 1;
/// Its first line.
const HEAD: &str = "# The nodes that joined, as etcd had them last. Written by l2ha, which starts and reloads from it.\n";

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// Of etcd; text, since TOML's numbers have a sign.
    cluster_id: String,
    revision: i64,
    #[serde(default)]
    members: Vec<Stored>,
    #[serde(default)]
    departed: Departed,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    node: Joined,
    id: Id,
    serial: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    absent_since: Option<u64>,
    /// Seconds.
    #[serde(default)]
    absent_for: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaving: Option<Gone>,
}

/// Reads the list, if there is one.
///
/// # Errors
///
/// When the file cannot be read, or others can have written it.
pub(crate) fn load(folder: &Path) -> Result<Roster> {
    let path = folder.join(config::LIST_FILE);
    let cannot = || {
        format!(
            "cannot read {}; remove it, and `l2ha join` asks etcd again",
            path.display()
        )
    };
    let Some(bytes) = state::read(&path).with_context(cannot)? else {
        return Ok(Roster::default());
    };
    let text = String::from_utf8(bytes).with_context(cannot)?;
    let file: File = toml::from_str(&text).with_context(cannot)?;
    if file.version != VERSION {
        bail!(
            "{} has the form {}, not {VERSION}; {}",
            path.display(),
            file.version,
            cannot()
        );
    }
    let members = file.members.into_iter().zip(0..);
    let entries = members.map(|(stored, order)| {
        let name = stored.node.name.clone();
        let entry = Entry {
            node: stored.node,
            id: stored.id,
            serial: stored.serial,
            order,
            absent_since: stored.absent_since,
            absent_for: Duration::from_secs(stored.absent_for),
            leaving: stored.leaving,
        };
        (name, entry)
    });
    let cluster_id = u64::from_str_radix(&file.cluster_id, 16).with_context(cannot)?;
    let entries = entries.collect();
    Ok(Roster::stored(
        cluster_id,
        file.revision,
        entries,
        file.departed,
    ))
}

/// Writes the list down, as a whole or not at all.
///
/// # Errors
///
/// When there is no room, or the folder belongs to somebody else.
pub(crate) fn store(folder: &Path, roster: &Roster) -> Result<()> {
    let path = folder.join(config::LIST_FILE);
    let cannot = || format!("cannot write {}", path.display());
    let members = roster.list().into_iter().map(|entry| Stored {
        node: entry.node.clone(),
        id: entry.id,
        serial: entry.serial,
        absent_since: entry.absent_since,
        absent_for: entry.absent_for.as_secs(),
        leaving: entry.leaving,
    });
    let file = File {
        version: VERSION,
        cluster_id: format!("{:x}", roster.cluster_id),
        revision: roster.revision,
        members: members.collect(),
        departed: roster.departed.clone(),
    };
    let text = toml::to_string(&file).with_context(cannot)?;
    state::ensure_folder(folder).with_context(cannot)?;
    state::write(&path, format!("{HEAD}{text}").as_bytes()).with_context(cannot)
}

/// The list as it is on the disk, for whoever has no daemon to ask.
///
/// # Errors
///
/// When the file cannot be read, or others can have written it.
pub fn stored(folder: &Path) -> Result<Members> {
    Ok(load(folder)?.members())
}
