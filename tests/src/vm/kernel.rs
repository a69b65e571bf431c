//! The virtual machine's kernel: Debian's own package, unpacked below `target/vm`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::debian::{self, Series};
use crate::ns::output;

/// The parts of the package that are unpacked, as patterns for tar.
const PARTS: &[&str] = &[
    "*/vmlinuz*",
    "*/lib/modules/*/modules.builtin",
    "*/lib/modules/*/kernel/drivers/char/*",
    "*/lib/modules/*/kernel/drivers/net/*",
    "*/lib/modules/*/kernel/drivers/virtio/*",
    "*/lib/modules/*/kernel/net/*",
];

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// The package's file name, which has its version.
    pub(super) package: String,
    /// What qemu loads.
    pub(super) image: PathBuf,
    modules: BTreeMap<String, PathBuf>,
    /// Modules that are part of the kernel itself: newer ones have virtio so.
    built_in: BTreeSet<String>,
}

impl Kernel {
    /// The newest kernel of a series that Debian offers, or without an answer from Debian the newest
    /// one that was fetched earlier.
    pub(super) fn get(cache: &Path, series: &Series) -> Result<Self> {
        let debs = debian::packages(cache, series)?;
        let package = debs
            .first()
            .and_then(|deb| deb.file_stem())
            .and_then(OsStr::to_str)
            .context("a package without a name")?
            .to_owned();
        // Another name than that of trees unpacked before they had the list of built-in modules.
        let tree = cache.join(format!("{package}.tree"));
        if !tree.exists() {
            println!("vm: unpacking {package}");
            unpack(&debs, &tree).inspect_err(|_| {
                // One that was cut short on its way would fail for ever; a named one is not ours.
                for deb in debs.iter().filter(|deb| deb.parent() == Some(cache)) {
                    let _ = fs::remove_file(deb);
                }
            })?;
        }
        Ok(Self {
            image: uncompressed(&image(&tree)?)?,
            modules: modules_below(&tree)?,
            built_in: built_in(&tree)?,
            package,
        })
    }

    /// The files of these modules and of all they depend on, in an order they can be inserted in.
    pub(super) fn modules(&self, wanted: &[&str]) -> Result<Vec<PathBuf>> {
        let mut order = Vec::new();
        for name in wanted {
            self.add(name, &mut order)?;
        }
        Ok(order)
    }

    fn add(&self, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
        if self.built_in.contains(name) {
            return Ok(());
        }
        let path = self
            .modules
            .get(name)
            .with_context(|| format!("{} has no module {name}", self.package))?;
        if order.contains(path) {
            return Ok(());
        }
        for dependency in dependencies(path)? {
            self.add(&dependency, order)?;
        }
        order.push(path.clone());
        Ok(())
    }
}

/// Unpacks [`PARTS`] of the packages; the folder is there only when all of it is.
fn unpack(debs: &[PathBuf], to: &Path) -> Result<()> {
    let part = to.with_added_extension("part");
    // Of an attempt that was interrupted; usually there is none.
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    for deb in debs {
        unpack_one(deb, &part)?;
    }
    // Kernels after 6.1 have their modules compressed.
    output(Command::new("find").arg(&part).args([
        "-name",
        "*.ko.xz",
        "-exec",
        "xz",
        "--decompress",
        "{}",
        "+",
    ]))
    .context("cannot decompress the kernel's modules: apt-get install xz-utils")?;
    fs::rename(&part, to).with_context(|| format!("cannot create {}", to.display()))
}

fn unpack_one(deb: &Path, to: &Path) -> Result<()> {
    let mut archive = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let pipe = archive.stdout.take().context("no pipe")?;
    // A package need not have all of the parts: what is missing is noticed when it is wanted.
    let unpacked = Command::new("tar")
        .arg("--extract")
        .arg("--directory")
        .arg(to)
        .arg("--wildcards")
        .args(PARTS)
        .stdin(pipe)
        .stderr(Stdio::null())
        .status()
        .context("cannot start tar")?;
    let read = archive.wait()?;
    let some_missing = unpacked.code() == Some(2);
    if !(unpacked.success() || some_missing) || !read.success() {
        bail!(
            "cannot unpack {} (dpkg-deb: {read}, tar: {unpacked}); is the disk full? Else try again",
            deb.display()
        );
    }
    Ok(())
}

/// What the kernel's own list of built-in modules has, by the names the kernel has for them.
fn built_in(tree: &Path) -> Result<BTreeSet<String>> {
    let modules = modules_folder(tree);
    let mut names = BTreeSet::new();
    for version in fs::read_dir(&modules)
        .with_context(|| format!("no folder {}", modules.display()))?
        .flatten()
    {
        let list = version.path().join("modules.builtin");
        let text =
            fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        names.extend(text.lines().filter_map(|line| {
            let file = Path::new(line).file_stem()?.to_str()?;
            Some(file.replace('-', "_"))
        }));
    }
    Ok(names)
}

/// Where the modules are: since Debian 13 below usr.
fn modules_folder(tree: &Path) -> PathBuf {
    let usr = tree.join("usr/lib/modules");
    if usr.is_dir() {
        usr
    } else {
        tree.join("lib/modules")
    }
}

/// The compressed kernel: in boot, or since Linux 7 among its modules.
fn image(tree: &Path) -> Result<PathBuf> {
    let below = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let versions = below(modules_folder(tree)).flat_map(|version| below(version.path()));
    below(tree.join("boot"))
        .chain(versions)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz"))
        .map(|entry| entry.path())
        .with_context(|| format!("no kernel in {}", tree.display()))
}

/// The kernel as an ELF file beside the compressed one, made once: an emulated machine takes
/// seconds to decompress itself. It is entered at its PVH note, which Debian's kernels have.
fn uncompressed(image: &Path) -> Result<PathBuf> {
    let elf = image.with_added_extension("elf");
    if elf.is_file() {
        return Ok(elf);
    }
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let Some((compressed, length)) = payload(&bytes) else {
        return Ok(image.to_owned());
    };
    let program = match compressed {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        _ => return Ok(image.to_owned()),
    };
    let part = elf.with_added_extension("part");
    let child = Command::new(program)
        .args(["--decompress", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&part)?)
        .spawn();
    let Ok(mut child) = child else {
        println!("vm: without {program} the kernel decompresses itself, which takes longer");
        return Ok(image.to_owned());
    };
    let mut pipe = child.stdin.take().context("no pipe")?;
    let written = pipe.write_all(compressed);
    drop(pipe);
    let status = child.wait()?;
    ensure!(
        written.is_ok() && status.success() && fs::metadata(&part)?.len() == length,
        "cannot decompress {} ({program}: {status}); is the disk full?",
        image.display()
    );
    fs::rename(&part, &elf).with_context(|| format!("cannot create {}", elf.display()))?;
    Ok(elf)
}

/// The compressed kernel in a bzImage, by Documentation/x86/boot.rst, and its length when it is
/// decompressed, which the kernel's build writes behind it.
fn payload(image: &[u8]) -> Option<(&[u8], u64)> {
    let word = |at: usize| -> Option<u32> {
        let bytes = image.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    let setup = usize::from(*image.get(0x1f1)?);
    let offset = usize::try_from(word(0x248)?).ok()?;
    let length = usize::try_from(word(0x24c)?).ok()?;
    let start = (setup + 1) * 512 + offset;
    let end = (start + length).checked_sub(4)?;
    Some((image.get(start..end)?, word(end)?.into()))
}

/// Every module below a folder, by the name the kernel has for it.
fn modules_below(tree: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![modules_folder(tree)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .with_context(|| format!("no folder {}", folder.display()))?
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some(OsStr::new("ko"))
                && let Some(name) = path.file_stem().and_then(OsStr::to_str)
            {
                found.insert(name.replace('-', "_"), path);
            }
        }
    }
    Ok(found)
}

/// The modules a module names in its own `depends=`, as depmod reads it.
fn dependencies(module: &Path) -> Result<Vec<String>> {
    const KEY: &[u8] = b"\0depends=";
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let start = bytes
        .windows(KEY.len())
        .position(|window| window == KEY)
        .with_context(|| format!("{} names no dependencies", module.display()))?;
    let value = bytes[start + KEY.len()..]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    Ok(std::str::from_utf8(value)?
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}
