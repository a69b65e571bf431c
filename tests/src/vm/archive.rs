//! A cpio archive in the form the kernel unpacks as its first file system: "newc", described in
//! the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.

use std::io::{Result, Write};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Writes an archive; everything in it belongs to root and has no date.
#[derive(Debug)]
pub(super) struct Archive<W> {
    to: W,
    inodes: u32,
    folders: Vec<String>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            inodes: 0,
            folders: Vec::new(),
        }
    }

    /// Adds a folder, and those it lies in. Paths have no leading slash.
    pub(super) fn folder(&mut self, path: &str) -> Result<()> {
        if path.is_empty() || self.folders.iter().any(|folder| folder == path) {
            return Ok(());
        }
        self.parent(path)?;
        self.folders.push(path.to_owned());
        self.entry(path, FOLDER, (0, 0), &[])
    }

    /// Adds a file that is read only.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.parent(path)?;
        self.entry(path, FILE, (0, 0), content)
    }

    /// Adds a file that can be run.
    pub(super) fn program(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.parent(path)?;
        self.entry(path, PROGRAM, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, to: &str) -> Result<()> {
        self.parent(path)?;
        self.entry(path, LINK, (0, 0), to.as_bytes())
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.parent(path)?;
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn parent(&mut self, path: &str) -> Result<()> {
        let (parent, _) = path.rsplit_once('/').unwrap_or_default();
        self.folder(parent)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let length = u32::try_from(content.len()).map_err(std::io::Error::other)?;
        let name = u32::try_from(path.len() + 1).map_err(std::io::Error::other)?;
        self.inodes += 1;
        let (user, group, links, date, checksum) = (0, 0, 1, 0, 0);
        write!(self.to, "070701")?;
        for field in [
            self.inodes,
            mode,
            user,
            group,
            links,
            date,
            length,
            0,
            0,
            device.0,
            device.1,
            name,
            checksum,
        ] {
            write!(self.to, "{field:08x}")?;
        }
        self.to.write_all(path.as_bytes())?;
        self.to.write_all(&[0])?;
        // The header is two bytes short of a multiple of four.
        self.pad(2 + path.len() + 1)?;
        self.to.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, length: usize) -> Result<()> {
        self.to.write_all(&[0; 3][..(4 - length % 4) % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn every_part_starts_at_a_multiple_of_four() {
        let mut archive = Archive::new(Vec::new());
        archive.program("bin/x", b"12345").unwrap();
        archive.link("bin/y", "x").unwrap();
        let bytes = archive.finish().unwrap();
        let starts: Vec<_> = bytes
            .windows(6)
            .enumerate()
            .filter(|(_, window)| window == b"070701")
            .map(|(at, _)| at)
            .collect();
        // bin, bin/x, bin/y and the trailer: the folder is there before what is in it.
        assert_eq!(starts, [0, 116, 240, 360]);
        assert_eq!(bytes.len(), 484);
        assert_eq!(&bytes[116 + 110..116 + 116], b"bin/x\0");
        assert_eq!(&bytes[232..237], b"12345");
    }
}
