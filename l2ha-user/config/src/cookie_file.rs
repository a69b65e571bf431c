//! Cookie files: a secret each, so nobody but the owner may read one, and no error shows it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use l2ha_ebpf::plan::Cookie;
use nix::{
    libc::O_NONBLOCK,
    unistd::{AccessFlags, access, geteuid},
};
use zeroize::Zeroizing;

use crate::{
    report::{Found, Place},
    section::Section,
};

/// More than a cookie's digits and some white space.
const LONGEST: u64 = 64;
/// Characters of a secret: fewer are too easily guessed.
const SHORTEST_SECRET: usize = 8;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// What is wrong with a cookie file, and what to do.
pub(crate) struct Problem {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

/// The files that a configuration names.
#[derive(Default)]
pub(crate) struct Files {
    /// Where relative paths begin.
    pub(crate) folder: PathBuf,
    /// The texts of those that are derived and not on the disk, by their names.
    pub(crate) derived: BTreeMap<String, Zeroizing<String>>,
    /// Of a configuration that was copied from its host.
    copied: Option<Copied>,
}

/// Where the files are of a configuration that was copied from its host: beside it, or not here at all.
struct Copied {
    /// Whether it is this host's after all, so that an absolute path may mean what it says.
    this_host: bool,
    /// The keys whose files are not here.
    unread: RefCell<Vec<Place>>,
}

impl Files {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            ..Self::default()
        }
    }

    /// Those of a configuration that was copied, unless it is this host's.
    pub(crate) fn copied(folder: &Path, this_host: bool) -> Self {
        Self {
            copied: Some(Copied {
                this_host,
                unread: RefCell::default(),
            }),
            ..Self::in_folder(folder)
        }
    }

    /// The keys whose files were not copied.
    pub(crate) fn unread(self) -> Vec<Place> {
        let copied = self.copied;
        copied.map_or_else(Vec::new, |copied| copied.unread.into_inner())
    }

    /// The path of a file; nothing where it need not be here, and is not.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let named = self.folder.join(name);
        let Some(Copied { this_host, .. }) = self.copied else {
            return Some(named);
        };
        let mut candidates = Vec::new();
        if Path::new(name).is_absolute() {
            // Of a folder that was copied as a whole, or of its files alone: the longest path that is there.
            let mut rest = Path::new(name).components();
            while rest.next().is_some() && rest.as_path() != Path::new("") {
                candidates.push(self.folder.join(rest.as_path()));
            }
        }
        if this_host || candidates.is_empty() {
            candidates.push(named);
        }
        let readable = |path: &PathBuf| access(path, AccessFlags::R_OK).is_ok();
        candidates.into_iter().find(readable)
    }

    /// Whether the file that a key names is to be read; one that was not copied is noted.
    fn is_here(&self, found: &Found<&str>) -> bool {
        let here = self.path(found.value).is_some();
        if let (false, Some(copied)) = (here, &self.copied) {
            copied.unread.borrow_mut().push(found.place.clone());
        }
        here
    }

    /// The beginning of a file that nobody but its owner can use.
    pub(crate) fn text(&self, name: &str, longest: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
        match self.derived.get(name) {
            Some(text) => Ok(Zeroizing::new(text.as_bytes().to_vec())),
            None => {
                let path = self.path(name);
                text(&path.unwrap_or_else(|| self.folder.join(name)), longest)
            }
        }
    }
}

/// Reads the file that `key` names.
pub(crate) fn read(section: &Section<'_>, key: &str, files: &Files) -> Option<Found<Cookie>> {
    let found = section.string(key)?;
    let read = match found.value {
        "" => Err(Problem {
            what: "there is no file name".to_owned(),
            remedy: format!("write `{key} = \"/etc/l2ha/client.key\"`, or remove it for no cookie"),
        }),
        // It may be a real cookie: not shown.
        digits if Cookie::from_hex(digits).is_some() => Err(Problem {
            what: "this looks like a cookie, not like a file's name".to_owned(),
            remedy: format!(
                "make a new cookie with `l2ha genkey --output FILE`, for this one has been seen, and write \
                 `{key} = \"FILE\"`"
            ),
        }),
        _ if !files.is_here(&found) => Ok(Cookie::default()),
        name => cookie(files, name),
    };
    match read {
        Ok(cookie) => Some(found.with(cookie)),
        Err(problem) => {
            section
                .report
                .error(&found.place, problem.what, problem.remedy);
            None
        }
    }
}

/// Reads the text of a secret that `key` names a file of, white space around it removed; `longest` is in
/// characters.
pub(crate) fn secret(
    section: &Section<'_>,
    key: &str,
    files: &Files,
    longest: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let found = section.string(key)?;
    let read = match found.value {
        "" => Err(Problem {
            what: "there is no file name".to_owned(),
            remedy: format!("write `{key} = \"/etc/l2ha/ospf.key\"`"),
        }),
        _ if !files.is_here(&found) => Ok(Zeroizing::default()),
        name => secret_text(files, name, longest),
    };
    read.map_err(|problem| {
        section
            .report
            .error(&found.place, problem.what, problem.remedy);
    })
    .ok()
}

fn secret_text(files: &Files, name: &str, longest: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let path = files.folder.join(name);
    let shown = path.display();
    let bytes = files.text(name, longest as u64 + 2)?;
    let secret = bytes.trim_ascii();
    let problem = match secret.len() {
        0..SHORTEST_SECRET => format!("has {} characters; that can be guessed", secret.len()),
        length if length <= longest => match secret.iter().all(u8::is_ascii_graphic) {
            true => return Ok(Zeroizing::new(secret.to_vec())),
            false => "has characters that other routers do not take for a key".to_owned(),
        },
        _ => format!("is longer than the {longest} characters a key can have"),
    };
    Err(Problem {
        what: format!("{shown} {problem}"),
        remedy: format!(
            "make a new one with `rm {shown}` and `l2ha genkey --bytes {} --output {shown}`, and \
             give it to all neighbours",
            (longest / 2).min(32)
        ),
    })
}

fn cookie(files: &Files, name: &str) -> Result<Cookie, Problem> {
    let path = files.folder.join(name);
    let shown = path.display();
    let text = files.text(name, LONGEST)?;
    let text = String::from_utf8_lossy(&text);
    Cookie::from_hex(&text).ok_or_else(|| Problem {
        what: format!(
            "{shown} has {} characters; a cookie is 8 or 16 hexadecimal digits",
            match text.trim().chars().count() {
                count @ ..LONGEST_SHOWN => count.to_string(),
                _ => format!("{LONGEST_SHOWN} or more"),
            }
        ),
        remedy: format!(
            "make a new one with `rm {shown}` and `l2ha genkey --output {shown}`, for both ends"
        ),
    })
}

/// Reads a file that holds a secret, which nobody but its owner may be able to use.
///
/// # Errors
///
/// What is wrong with it, and the remedy.
pub fn secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    if !path.exists() {
        return Err(format!("{} is not there", path.display()));
    }
    text(path, LONGEST_FILE).map_err(|problem| format!("{}; {}", problem.what, problem.remedy))
}

/// The beginning of a file that nobody but its owner can use.
fn text(path: &Path, longest: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let shown = path.display();
    let file = open(path)?;
    let unreadable = |error: io::Error| Problem {
        what: format!("{shown} cannot be read ({error})"),
        remedy: format!("look at `ls -l {shown}`"),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Problem {
            what: format!("{shown} is not a plain file"),
            remedy: format!("make one with `l2ha genkey --output {shown}.key`"),
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(Problem {
            what: format!("{shown} has mode {mode:04o}: others than its owner can use it"),
            remedy: format!("call `chmod 600 {shown}`"),
        });
    }
    let user = geteuid();
    if metadata.uid() != 0 && metadata.uid() != user.as_raw() {
        return Err(Problem {
            what: format!(
                "{shown} belongs to user {}, who can change it",
                metadata.uid()
            ),
            remedy: format!("call `chown {user} {shown}`"),
        });
    }
    // With room from the beginning, so that it is not copied.
    let mut text = Zeroizing::new(Vec::with_capacity(longest as usize + 1));
    file.take(longest)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    Ok(text)
}

/// Longest file with a secret of another program's, in bytes.
const LONGEST_FILE: u64 = 1 << 16;

/// How many characters are counted for an error.
const LONGEST_SHOWN: usize = 60;

fn open(path: &Path) -> Result<File, Problem> {
    let shown = path.display();
    // A FIFO without a writer would be waited for.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    file.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Problem {
            what: format!("{shown} is not there"),
            remedy: format!(
                "make it with `l2ha genkey --output {shown}`, and copy it to the peer for its \
                 other direction"
            ),
        },
        io::ErrorKind::PermissionDenied => Problem {
            what: format!("{shown} may not be read by this user"),
            remedy: "call this command as root".to_owned(),
        },
        _ => Problem {
            what: format!("{shown} cannot be read ({error})"),
            remedy: format!("look at `ls -l {shown}`"),
        },
    })
}
