//! What OSPF must remember from one run to the next: the high half of the sequence numbers of
//! authenticated packets (RFC 7166 4.1), and how the run ended.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use linux::state;
use serde::{Deserialize, Serialize};

/// How a run of the router ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// It went on when this was written, so if it is over, it crashed.
    #[default]
    None,
    /// Everything was withdrawn and removed.
    Stopped,
    /// The neighbours were asked to wait for the next run.
    Restarting,
}

#[derive(Debug, Deserialize, Serialize)]
struct Memory {
    authentication_epoch: u32,
    #[serde(default)]
    ending: Ending,
    /// The boot of the machine in which that was, since which the kernel has what it was given.
    #[serde(default)]
    boot: String,
    #[serde(default)]
    drained: bool,
}

/// The file, and what it has said.
#[derive(Debug)]
pub(crate) struct RestartState {
    path: PathBuf,
    boot: String,
    /// Greater than that of every run before: the seconds since 1970, or one more than the last if
    /// the clock went back.
    pub(crate) epoch: u32,
    /// How the run before ended, if the kernel can still have what it left.
    pub(crate) before: Option<Ending>,
    /// Whether the run before was the last resort when it ended, other than by a clean stop.
    pub(crate) drained: bool,
    /// Why the file does not say so.
    unwritten: Option<String>,
}

/// Time of day since 1970.
pub(crate) fn wall_clock() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // Before 1970 is as good as 1970: the clock is wrong anyway.
    since.unwrap_or_default()
}

/// What tells this boot of the machine from others.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

impl RestartState {
    /// Begins a run. Its epoch is written down before it is used; where that cannot be done, the next one is greater by
    /// the clock.
    pub(crate) fn begin(path: &Path) -> Self {
        Self::begin_at(path, wall_clock(), boot())
    }

    fn begin_at(path: &Path, wall: Duration, boot: String) -> Self {
        let last = Memory::read(path).unwrap_or_else(|why| {
            let aside = state::set_aside(path);
            let aside = aside.as_deref().unwrap_or(path);
            tracing::warn!(
                aside = %aside.display(),
                "{} is not believed, {why}: beginning again",
                path.display()
            );
            None
        });
        let seconds = u32::try_from(wall.as_secs()).unwrap_or(u32::MAX);
        let above = last
            .as_ref()
            .map_or(0, |memory| memory.authentication_epoch);
        let last = last.filter(|memory| memory.boot == boot);
        let drained = last
            .as_ref()
            .is_some_and(|memory| memory.drained && memory.ending != Ending::Stopped);
        let before = last.map(|memory| memory.ending);
        let mut state = Self {
            path: path.to_owned(),
            boot,
            epoch: seconds.max(above.saturating_add(1)),
            before,
            drained,
            unwritten: None,
        };
        state.end(Ending::None);
        state
    }

    /// Writes down whether this node is the last resort.
    pub(crate) fn drain(&mut self, on: bool) {
        self.drained = on;
        self.end(Ending::None);
    }

    /// Writes the file of a run that goes on again, if it could not be written or somebody has removed it. Returns why
    /// that cannot be done, if it cannot.
    pub(crate) fn keep(&mut self) -> Option<&str> {
        if self.unwritten.is_some() || !self.path.exists() {
            self.end(Ending::None);
        }
        self.unwritten.as_deref()
    }

    /// Writes down how it ends. Returns why that cannot be done, if it cannot.
    pub(crate) fn end(&mut self, ending: Ending) -> Option<&str> {
        let memory = Memory {
            authentication_epoch: self.epoch,
            ending,
            boot: self.boot.clone(),
            drained: self.drained,
        };
        let written = serde_json::to_vec(&memory)
            .map_err(Into::into)
            .and_then(|bytes| state::write(&self.path, &bytes));
        self.unwritten = written
            .err()
            .map(|error| format!("cannot write {}: {error}", self.path.display()));
        self.unwritten.as_deref()
    }
}

impl Memory {
    fn read(path: &Path) -> Result<Option<Self>, String> {
        let bytes = state::read(path).map_err(|error| error.to_string())?;
        let memory = bytes
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose();
        memory.map_err(|error| format!("it is damaged ({error})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(path: &Path, seconds: u64, boot: &str) -> RestartState {
        RestartState::begin_at(path, Duration::from_secs(seconds), boot.to_owned())
    }

    #[test]
    fn it_grows_whatever_the_clock_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.ospf.json");
        let at = |seconds| begin(&path, seconds, "a").epoch;
        assert_eq!(at(1_800_000_000), 1_800_000_000);
        assert_eq!(at(1_800_000_000), 1_800_000_001);
        assert_eq!(at(5), 1_800_000_002);
        assert_eq!(at(1_800_000_900), 1_800_000_900);
        fs::write(&path, "{").unwrap();
        assert_eq!(at(1_800_001_000), 1_800_001_000);
    }

    #[test]
    fn a_crash_is_told_from_a_stop_and_from_a_boot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.ospf.json");
        let state = begin(&path, 1, "a");
        assert_eq!(state.before, None, "the first");
        let mut state = begin(&path, 2, "a");
        assert_eq!(state.before, Some(Ending::None), "crashed");
        state.end(Ending::Restarting);
        let mut state = begin(&path, 3, "a");
        assert_eq!(state.before, Some(Ending::Restarting));
        state.end(Ending::Stopped);
        let state = begin(&path, 4, "a");
        assert_eq!(state.before, Some(Ending::Stopped));
        let state = begin(&path, 5, "b");
        assert_eq!(state.before, None, "the machine was booted");
        fs::write(&path, r#"{"authentication_epoch": 9}"#).unwrap();
        assert_eq!(begin(&path, 6, "b").before, None, "of an older version");
    }

    #[test]
    fn a_drained_node_stays_so_until_a_clean_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.ospf.json");
        let mut state = begin(&path, 1, "a");
        assert!(!state.drained);
        state.drain(true);
        let mut state = begin(&path, 2, "a");
        assert!(state.drained, "crashed");
        state.end(Ending::Restarting);
        let mut state = begin(&path, 3, "a");
        assert!(state.drained, "restarted");
        state.end(Ending::Stopped);
        let mut state = begin(&path, 4, "a");
        assert!(!state.drained, "stopped");
        state.drain(true);
        state.drain(false);
        assert!(!begin(&path, 5, "a").drained);
        begin(&path, 6, "a").drain(true);
        assert!(!begin(&path, 7, "b").drained, "booted");
    }

    #[test]
    fn fault_17_a_file_that_cannot_be_written_keeps_no_run_from_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path().join("run");
        let path = run_dir.join("node.ospf.json");
        let mut state = begin(&path, 5, "a");
        assert_eq!(state.epoch, 5);
        let why = state.keep().unwrap();
        assert!(why.contains("node.ospf.json: No such file"), "{why}");
        state.drain(true);
        assert!(state.drained);
        fs::create_dir(&run_dir).unwrap();
        assert_eq!(state.keep(), None);
        // Removed under a running daemon.
        fs::remove_dir_all(&run_dir).unwrap();
        fs::create_dir(&run_dir).unwrap();
        assert_eq!(state.keep(), None);
        let state = begin(&path, 5, "a");
        assert_eq!((state.epoch, state.drained), (6, true));
    }

    #[test]
    fn fault_17_a_torn_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.ospf.json");
        for torn in ["", "{", "null", "{\"authentication_epoch\": 9"] {
            state::write(&path, torn.as_bytes()).unwrap();
            assert_eq!(begin(&path, 5, "a").before, None, "{torn}");
            let aside = fs::read(folder.path().join("node.ospf.json.damaged")).unwrap();
            assert_eq!(aside, torn.as_bytes());
            fs::remove_file(&path).unwrap();
        }
    }
}
