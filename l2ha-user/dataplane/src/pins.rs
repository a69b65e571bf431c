//! Where the maps are pinned: a folder for each layout, `v` and the layout's number, and in it each
//! map under its name and the number of its own layout.

use std::{
    ffi::OsString,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aya::maps::MapData;
use l2ha_ebpf::abi::layout::{self, MapLayout};

/// What the folders' names begin with.
const FOLDER: char = 'v';

/// What is put behind the name of what is in the way. bpffs takes no names with a dot.
const ASIDE: &str = "_aside";
/// What the kernel keeps of a map's name (`BPF_OBJ_NAME_LEN` of linux/bpf.h, without its end).
const NAME: usize = 15;
/// What /proc shows of a descriptor of a map.
const MAP: &str = "anon_inode:bpf-map";

/// The folder of this program's layout.
pub(crate) fn folder(node: &Path) -> PathBuf {
    node.join(format!("{FOLDER}{:08x}", layout::LAYOUT))
}

/// The name of a map's pin.
pub(crate) fn name(map: &MapLayout) -> String {
    // bpffs takes no names with a dot.
    format!("{}_{:08x}", map.name, map.version)
}

/// Takes maps over that a daemon with another layout pinned and that have not changed between the
/// two: pins them in `maps` as well. Returns how many maps are there then.
pub(crate) fn take_over(node: &Path, maps: &Path) -> Result<usize> {
    let mut there = 0;
    for map in &layout::MAPS {
        let pin = maps.join(name(map));
        if pin.exists() {
            if open(&pin, map).is_some() {
                there += 1;
                continue;
            }
            set_aside(&pin)?;
        }
        for other in folders(node)? {
            let old = other.join(name(map));
            if other == maps {
                continue;
            }
            let Some(data) = open(&old, map) else {
                continue;
            };
            data.pin(&pin)
                .with_context(|| format!("cannot pin {}", pin.display()))?;
            there += 1;
            break;
        }
    }
    Ok(there)
}

/// The map of this name that is pinned there, if it is one: what else can be pinned, programs and links, the kernel
/// takes for none only when a program is loaded that shall use it.
fn open(pin: &Path, map: &MapLayout) -> Option<MapData> {
    let data = MapData::from_pin(pin).ok()?;
    let descriptor = data.fd().as_fd().as_raw_fd();
    let kind = fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
    let info = data.info().ok()?;
    let wanted = map.name.get(..NAME).unwrap_or(map.name);
    (kind == Path::new(MAP) && info.name_as_str() == Some(wanted)).then_some(data)
}

/// Moves what is in the way of a pin or of a folder for pins.
///
/// # Errors
///
/// When it cannot be moved.
pub(crate) fn set_aside(path: &Path) -> Result<()> {
    let mut aside = OsString::from(path);
    aside.push(ASIDE);
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside).with_context(|| {
        let shown = path.display();
        format!("{shown} is in the way and cannot be moved: remove it (`rm -r {shown}`)")
    })?;
    tracing::warn!(
        aside = %aside.display(),
        "{} is not what l2ha pins there: moved out of the way",
        path.display()
    );
    Ok(())
}

/// Removes the pins of other layouts. Programs that still use those maps keep them.
pub(crate) fn remove_others(node: &Path) -> Result<()> {
    let own = folder(node);
    for folder in folders(node)? {
        if folder != own {
            tracing::info!(folder = %folder.display(), "removing the maps of another version");
            remove(&folder)?;
        }
    }
    Ok(())
}

/// Removes the pins of every layout.
pub(crate) fn remove_all(node: &Path) -> Result<()> {
    for folder in folders(node)? {
        remove(&folder)?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    // bpffs knows removing files and empty folders.
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// The folders of all layouts that are there.
pub(crate) fn folders(node: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot list {}", node.display());
    let entries = match fs::read_dir(node) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(context),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.with_context(context)?;
        let is_folder = entry.file_type().with_context(context)?.is_dir();
        if is_folder && entry.file_name().to_string_lossy().starts_with(FOLDER) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}
