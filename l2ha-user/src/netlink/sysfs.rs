//! Files below /sys/class/net, of this process's network namespace.
//!
//! A mounted sysfs shows the interfaces of the namespace it was mounted in, which need not be the
//! one the daemon runs in. So it has an instance of its own, which is mounted nowhere.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

/// sysfs as this network namespace sees it.
#[derive(Debug)]
pub struct Sysfs {
    root: OwnedFd,
}

impl Sysfs {
    /// Makes an instance; needs CAP_SYS_ADMIN.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn open() -> io::Result<Self> {
        let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let root = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )?;
        Ok(Self { root })
    }

    /// Spreads what comes in on a queue of an interface over all processors (RPS), or leaves it where it
    /// came in. Returns whether there is such a queue.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn spread(&self, interface: &str, queue: u32, on: bool) -> io::Result<bool> {
        let path = format!("class/net/{interface}/queues/rx-{queue}/rps_cpus");
        let open = |flags| openat(&self.root, &path, flags | OFlags::CLOEXEC, Mode::empty());
        let mut text = String::new();
        match open(OFlags::RDONLY) {
            Ok(file) => File::from(file).read_to_string(&mut text)?,
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mask = if on {
            all_processors(text.trim())
        } else {
            "0".to_owned()
        };
        if significant(&text) != significant(&mask) {
            File::from(open(OFlags::WRONLY)?).write_all(mask.as_bytes())?;
        }
        Ok(true)
    }
}

/// A mask of all processors that can be online, in the form of `example`: 32 bits a group.
fn all_processors(example: &str) -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let groups = example.split(',').count();
    let group = |number: usize| {
        let bits = processors.saturating_sub(number * 32).min(32);
        format!("{:x}", (1_u64 << bits) - 1)
    };
    let groups: Vec<String> = (0..groups).rev().map(group).collect();
    groups.join(",")
}

/// A mask without what does not count.
fn significant(mask: &str) -> String {
    let digits = mask.trim().split(',').map(|group| format!("{group:0>8}"));
    let digits: String = digits.collect();
    digits.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_compared_by_what_they_mean() {
        assert_eq!(significant("00000000,00000003\n"), significant("3"));
        assert_eq!(significant("0"), "");
        assert_eq!(significant("1,00000000"), "100000000");
        let one = all_processors("f");
        assert!(
            !one.contains(',') && u64::from_str_radix(&one, 16).is_ok_and(|mask| mask & 1 == 1)
        );
        assert!(all_processors("0,0").starts_with(|c: char| c.is_ascii_hexdigit()));
    }
}
