//! Those who left: an older record of theirs does not bring them back.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::record::Id;

/// How many are remembered.
const MOST: usize = 4096;

/// Those who left, the last one last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departed(VecDeque<One>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct One {
    name: String,
    id: Id,
    serial: u64,
}

impl Departed {
    /// A host has left, or lost its name: what it said up to this serial is over.
    pub(crate) fn add(&mut self, name: &str, id: Id, serial: u64) {
        let before = self.0.iter().position(|it| it.name == name && it.id == id);
        let before = before.and_then(|at| self.0.remove(at));
        let serial = before.map_or(serial, |before| before.serial.max(serial));
        self.0.push_back(One {
            name: name.to_owned(),
            id,
            serial,
        });
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// Whether a record is of before its host left.
    pub(crate) fn covers(&self, name: &str, id: Id, serial: u64) -> bool {
        let mut all = self.0.iter();
        all.any(|it| it.name == name && it.id == id && serial <= it.serial)
    }
}
