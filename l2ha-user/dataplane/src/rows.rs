//! The rows: sessions once more, each in a cache line of the array ROWS that the last bits of its id name.
//!
//! Programs look there first, and into the hash map of sessions where another id, or none, is there. The kernel
//! writes an element of an array in pieces, so a row changes in steps: its id goes, the programs that still look at
//! it end, the rest is written, and last comes an id again.

use std::{collections::BTreeMap, io};

use anyhow::{Context as _, Result};
use aya::maps::{Array, MapData};
use l2ha_ebpf::abi::{MAX_ROWS, Receive, SessionId};
use nix::libc;

use crate::object::{Object, Shared};

const ROWS: &str = "ROWS";

/// Whose the rows are, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// What programs see.
    there: BTreeMap<u32, SessionId>,
    /// What is to be written, no row of those there; the first of several who would have one.
    waiting: BTreeMap<u32, SessionId>,
}

impl Rows {
    /// Takes the rows over from an earlier daemon: keeps what is right and hides the rest from the programs.
    pub(crate) fn adopt(
        &mut self,
        object: &mut Object,
        sessions: impl Iterator<Item = Receive>,
    ) -> Result<()> {
        let mut wanted: BTreeMap<u32, Receive> = BTreeMap::new();
        for session in sessions {
            wanted.entry(session.id().row()).or_insert(session);
        }
        let mut rows = open(object)?;
        for number in 0..MAX_ROWS {
            let row = read(&rows, number)?;
            match wanted.get(&number) {
                Some(session) if row == *session => {
                    self.there.insert(number, session.id());
                }
                other => {
                    if row != row.without_id() {
                        write(&mut rows, number, row.without_id())?;
                    }
                    self.waiting.extend(other.map(|it| (number, it.id())));
                }
            }
        }
        Ok(())
    }

    /// A session has changed, or is new: its row is to be written.
    pub(crate) fn change(&mut self, object: &mut Object, id: SessionId) -> Result<()> {
        self.hide(object, id)?;
        if !self.there.contains_key(&id.row()) {
            self.waiting.entry(id.row()).or_insert(id);
        }
        Ok(())
    }

    /// A session has gone.
    pub(crate) fn remove(&mut self, object: &mut Object, id: SessionId) -> Result<()> {
        self.hide(object, id)?;
        if self.waiting.get(&id.row()) == Some(&id) {
            self.waiting.remove(&id.row());
        }
        Ok(())
    }

    /// Takes the id from a session's row, if it has one.
    fn hide(&mut self, object: &mut Object, id: SessionId) -> Result<()> {
        if self.there.get(&id.row()) != Some(&id) {
            return Ok(());
        }
        let mut rows = open(object)?;
        let row = read(&rows, id.row())?;
        write(&mut rows, id.row(), row.without_id())?;
        self.there.remove(&id.row());
        Ok(())
    }

    /// How many sessions are in their rows.
    pub(crate) fn count(&self) -> usize {
        self.there.len()
    }

    /// Writes what has changed. Takes some milliseconds if anything has.
    ///
    /// # Errors
    ///
    /// When this kernel cannot wait for programs to end: the sessions are found in the hash map then.
    pub(crate) fn settle(
        &mut self,
        object: &mut Object,
        receive: impl Fn(u32) -> Option<Receive>,
    ) -> Result<()> {
        let changed: Vec<Receive> = std::mem::take(&mut self.waiting)
            .into_values()
            .filter_map(|id| receive(id.get()))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mut rows = open(object)?;
        // A program that saw the id that was there has ended.
        grace()?;
        for session in &changed {
            write(&mut rows, session.id().row(), session.without_id())?;
        }
        // A program that sees the new id has seen what was just written, however its processor orders its loads.
        grace()?;
        for session in changed {
            let id = session.id();
            write(&mut rows, id.row(), session)?;
            self.there.insert(id.row(), id);
        }
        Ok(())
    }
}

fn open(object: &mut Object) -> Result<Array<&mut MapData, Shared<Receive>>> {
    object.plain_array_mut(ROWS)
}

fn read(rows: &Array<&mut MapData, Shared<Receive>>, number: u32) -> Result<Receive> {
    let row = rows.get(&number, 0);
    Ok(row.with_context(|| format!("cannot read row {number}"))?.0)
}

fn write(rows: &mut Array<&mut MapData, Shared<Receive>>, number: u32, row: Receive) -> Result<()> {
    rows.set(number, Shared(row), 0)
        .with_context(|| format!("cannot write row {number}"))
}

/// Waits until every program that runs now has ended, and whatever was written before is seen by those that start:
/// a grace period of RCU (kernel/sched/membarrier.c).
fn grace() -> Result<()> {
    const GLOBAL: libc::c_int = 1;
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("membarrier(2)"),
    }
}
