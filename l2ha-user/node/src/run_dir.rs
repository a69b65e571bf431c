//! The run folder: that it is there, that nobody else can write into it, and that one daemon uses it for a node.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use linux::state;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc::O_NOFOLLOW,
};

/// Permissions of the lock's file.
const MODE: u32 = 0o600;

/// The folder, and a lock in it: daemons in several network namespaces can share a run folder.
#[derive(Debug)]
pub(crate) struct RunDir {
    folder: PathBuf,
    lock_file: PathBuf,
    lock: Option<Flock<File>>,
    /// Why the folder or the lock is not there.
    problem: Option<String>,
}

impl RunDir {
    /// Makes the folder if it is not there, and locks the node's name in it. A folder that cannot be made, or has no
    /// room, keeps nobody from starting: it is tried again in [`RunDir::keep`].
    ///
    /// # Errors
    ///
    /// When another daemon has the lock, or the folder belongs to somebody else.
    pub(crate) fn take(node: &config::Node) -> Result<Self> {
        let folder = node.run_dir.clone();
        let mut run_dir = Self {
            lock_file: folder.join(format!("{}.lock", node.name)),
            folder,
            lock: None,
            problem: None,
        };
        if let Err(error) = state::ensure_folder(&run_dir.folder)
            && run_dir.folder.is_dir()
        {
            return Err(error).with_context(|| {
                let shown = run_dir.folder.display();
                format!("cannot use {shown}: `chown root {shown}`, or write another [node].run_dir")
            });
        }
        match run_dir.ensure() {
            Ok(()) => {}
            Err(Trouble::Locked(why)) => bail!(why),
            Err(Trouble::Unusable(why)) => run_dir.problem = Some(why),
        }
        Ok(run_dir)
    }

    /// Makes what is missing again. Returns why that cannot be done, if it cannot.
    pub(crate) fn keep(&mut self) -> Option<&str> {
        if self.lock.is_some() && self.lock_file.exists() {
            return None;
        }
        if self.lock.is_some() {
            tracing::warn!(folder = %self.folder.display(), "somebody has removed what was here, making it again");
        }
        let problem = self.ensure().err().map(|trouble| match trouble {
            Trouble::Locked(why) | Trouble::Unusable(why) => why,
        });
        self.problem = problem;
        self.problem.as_deref()
    }

    fn ensure(&mut self) -> Result<(), Trouble> {
        let cannot = |what: &str, path: &Path, error: &dyn std::fmt::Display| {
            Trouble::Unusable(format!("cannot {what} {}: {error}", path.display()))
        };
        state::ensure_folder(&self.folder).map_err(|error| cannot("make", &self.folder, &error))?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .custom_flags(O_NOFOLLOW)
            .open(&self.lock_file)
            .map_err(|error| cannot("make", &self.lock_file, &error))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        self.lock = Some(lock.map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => Trouble::Locked(format!(
                "{} is locked: another l2ha runs under this node name; stop it, or give this node another [node].name",
                self.lock_file.display()
            )),
            error => cannot("lock", &self.lock_file, &error),
        })?);
        Ok(())
    }
}

/// Why there is no lock.
enum Trouble {
    /// Another daemon has it.
    Locked(String),
    /// The folder or the file cannot be had.
    Unusable(String),
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn node(folder: &Path) -> config::Node {
        config::Node {
            name: "node".into(),
            run_dir: folder.to_owned(),
            bpffs: "/sys/fs/bpf".into(),
        }
    }

    #[test]
    fn fault_17_a_run_folder_that_is_removed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let mut run_dir = RunDir::take(&node(&path)).unwrap();
        let refused = RunDir::take(&node(&path)).unwrap_err();
        assert!(refused.to_string().contains("another l2ha"), "{refused}");
        assert_eq!(run_dir.keep(), None);
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(run_dir.keep(), None);
        assert!(RunDir::take(&node(&path)).is_err());
    }

    #[test]
    fn fault_17_a_run_folder_that_cannot_be_made_is_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::write(&path, "in the way").unwrap();
        let mut run_dir = RunDir::take(&node(&path)).unwrap();
        let why = run_dir.keep().unwrap().to_owned();
        assert!(why.contains("cannot make") && why.contains("/run"), "{why}");
        fs::remove_file(&path).unwrap();
        assert_eq!(run_dir.keep(), None);
    }

    #[test]
    fn fault_18_the_lock_follows_no_symbolic_link() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("somebody's");
        fs::write(&other, "theirs").unwrap();
        symlink(&other, folder.path().join("node.lock")).unwrap();
        let mut run_dir = RunDir::take(&node(folder.path())).unwrap();
        let why = run_dir.keep().unwrap();
        assert!(why.contains("node.lock"), "{why}");
        assert_eq!(fs::read(other).unwrap(), b"theirs");
    }
}
