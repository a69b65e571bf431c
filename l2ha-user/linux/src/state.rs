//! Small files that the daemon keeps for its next start, and the folder they lie in.
//!
//! What is read there decides what is removed from the kernel, so it is believed only where nobody else can have
//! written it. What is written is there as a whole or not at all, also after the machine has lost its power.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    libc::{O_NOFOLLOW, O_NONBLOCK},
    unistd::geteuid,
};

/// Permissions of the files, whatever the umask is.
const FILE: u32 = 0o600;
/// Permissions of a folder that is made, whatever the umask is.
const FOLDER: u32 = 0o700;
/// Permission bits with which others can change it.
const OTHERS_WRITE: u32 = 0o022;
/// In a folder with this bit nobody can replace what belongs to somebody else.
const STICKY: u32 = 0o1000;
/// More than any of the files has, in bytes.
const LARGEST: u64 = 16 << 20;
/// The unit in which a file says how much room it takes (stat(2)).
const BLOCK: u64 = 512;

/// Makes the folder, for this user alone, or takes the right to write there from others.
///
/// # Errors
///
/// When it cannot be made, or belongs to somebody else.
pub fn ensure_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER)
        .create(folder)?;
    let metadata = fs::metadata(folder)?;
    let owner = metadata.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it belongs to user {owner}, who can change what l2ha keeps there"),
        ));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        tracing::warn!(
            folder = %folder.display(),
            "others could write into this folder (mode {mode:04o}): closed to them"
        );
        fs::set_permissions(folder, Permissions::from_mode(mode & !OTHERS_WRITE))?;
    }
    Ok(())
}

/// What a file has, if it is there.
///
/// # Errors
///
/// When it cannot be read, or somebody else can have written it: it is a symbolic link or no plain file, belongs to
/// another user, or may be written by others.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let opened = OpenOptions::new()
        .read(true)
        // A FIFO without a writer would be waited for.
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(_) if path.is_symlink() => return Err(distrusted("it is a symbolic link")),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(distrusted("it is no plain file"));
    }
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != geteuid().as_raw() {
        return Err(distrusted(&format!("it belongs to user {owner}")));
    }
    if mode & OTHERS_WRITE != 0 {
        return Err(distrusted(&format!(
            "others may write it (mode {mode:04o})"
        )));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn distrusted(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// Replaces a file in one step. Where there is no room for a second one, it is written over in its place, if that
/// takes no more room.
///
/// # Errors
///
/// When it cannot be written; what was there before is still there.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match replace(path, bytes) {
        Err(error) if is_full(&error) => overwrite(path, bytes).map_err(|_| error),
        written => written,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    // Of a start that was killed, or put there by somebody.
    unlink(&new)?;
    let written = write_new(&new, bytes).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
        return written;
    }
    sync_folder(path)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(FILE))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Only what would be believed.
    read(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(O_NOFOLLOW)
        .open(path)?;
    let length = bytes.len() as u64;
    if length > file.metadata()?.blocks() * BLOCK {
        return Err(io::ErrorKind::StorageFull.into());
    }
    file.write_all(bytes)?;
    file.set_len(length)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a file, and what a process that was killed while it replaced it has left beside it.
///
/// # Errors
///
/// When it cannot be removed; that it is gone already is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    unlink(path)?;
    unlink(&beside(path, ".new"))
}

fn unlink(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a file that is not to be believed beside its place, where a person can look at it, in place of one that was
/// put there before. Returns where it is now, if it could be moved.
pub fn set_aside(path: &Path) -> Option<PathBuf> {
    let aside = beside(path, ".damaged");
    fs::rename(path, &aside).ok().map(|()| aside)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn fault_18_files_have_their_modes_and_are_believed_only_when_they_are_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/node.made.json");
        // Made by somebody with umask 0.
        DirBuilder::new()
            .mode(0o777)
            .create(folder.path().join("run"))
            .unwrap();
        fs::set_permissions(folder.path().join("run"), Permissions::from_mode(0o777)).unwrap();
        ensure_folder(&folder.path().join("run")).unwrap();
        assert_eq!(mode(&folder.path().join("run")), 0o755);
        ensure_folder(&folder.path().join("other")).unwrap();
        assert_eq!(mode(&folder.path().join("other")), FOLDER);

        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"one").unwrap();
        assert_eq!(mode(&path), FILE);
        assert_eq!(read(&path).unwrap().unwrap(), b"one");

        for (others, believed) in [(0o602, false), (0o620, false), (0o644, true)] {
            fs::set_permissions(&path, Permissions::from_mode(others)).unwrap();
            assert_eq!(read(&path).is_ok(), believed, "{others:o}");
        }
        // It has its mode again with the next change.
        write(&path, b"two").unwrap();
        assert_eq!(mode(&path), FILE);
    }

    #[test]
    fn fault_18_symbolic_links_are_neither_read_nor_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.made.json");
        let other = folder.path().join("somebody's");
        fs::write(&other, "theirs").unwrap();
        symlink(&other, &path).unwrap();
        symlink(&other, beside(&path, ".new")).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
        write(&path, b"ours").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"theirs");
        assert_eq!(read(&path).unwrap().unwrap(), b"ours");
        // Whatever else is in the way is told, and does not hang.
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&fifo).is_err());
        let error = read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("no plain file"), "{error}");
        assert!(write(folder.path(), b"x").is_err());
    }

    #[test]
    fn what_a_killed_write_left_goes_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.made.json");
        write(&path, b"one").unwrap();
        fs::write(beside(&path, ".new"), b"tw").unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        remove(&path).unwrap();
    }

    #[test]
    fn what_is_set_aside_can_be_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.made.json");
        assert_eq!(set_aside(&path), None);
        fs::write(&path, "{").unwrap();
        let aside = set_aside(&path).unwrap();
        assert_eq!(fs::read(aside).unwrap(), b"{");
        assert_eq!(read(&path).unwrap(), None);
    }
}
