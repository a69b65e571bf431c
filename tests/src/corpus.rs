//! The inputs that the fuzzer kept: one archive for each target.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tar::{Archive, Builder, Header};

use crate::target_dir;

/// Inputs by name.
pub type Inputs = BTreeMap<String, Vec<u8>>;

/// A target's archive.
fn archive(target: &str) -> PathBuf {
    let name = format!("{target}.tar.gz");
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name)
}

/// The inputs of a target; none where there is no archive.
///
/// # Errors
///
/// When the archive cannot be read.
pub fn inputs(target: &str) -> Result<Inputs> {
    match packed(target)? {
        Some(bytes) => read(&bytes).with_context(|| format!("{}", archive(target).display())),
        None => Ok(Inputs::new()),
    }
}

/// The archive's bytes, if there is one.
fn packed(target: &str) -> Result<Option<Vec<u8>>> {
    let path = archive(target);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(bytes))
}

/// A folder of the target folder with the inputs as files. It is written anew only when the archive is another
/// than the last time: what has been added since to the folder stays.
///
/// # Errors
///
/// When the archive cannot be read, or the folder not be written.
pub fn unpack(target: &str) -> Result<PathBuf> {
    let (folder, copy) = unpacked(target);
    let packed = packed(target)?;
    if folder.exists() && fs::read(&copy).ok() == packed {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    if let Some(packed) = packed {
        for (name, bytes) in read(&packed)? {
            fs::write(folder.join(name), bytes)?;
        }
        // Last: a folder that is not complete is written anew.
        fs::write(&copy, packed)?;
    }
    Ok(folder)
}

/// Makes the archive from the files of a folder, such as the one that [`unpack`] returns. The same files make the
/// same archive.
///
/// # Errors
///
/// When a file cannot be read, or the archive not be written.
pub fn pack(target: &str, folder: &Path) -> Result<()> {
    let mut inputs = Inputs::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("not a name")?;
        inputs.insert(name, fs::read(entry.path())?);
    }
    let (path, (_, copy)) = (archive(target), unpacked(target));
    let packed = write(&inputs)?;
    if fs::read(&path).ok().as_ref() != Some(&packed) {
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(&path, &packed).with_context(|| format!("cannot write {}", path.display()))?;
    }
    fs::create_dir_all(copy.parent().context("no folder")?)?;
    fs::write(copy, packed)?;
    Ok(())
}

/// The folder of a target's files, and the copy of the archive that they are from.
fn unpacked(target: &str) -> (PathBuf, PathBuf) {
    let all = target_dir().join("fuzz-corpus");
    (all.join(target), all.join(format!("{target}.tar.gz")))
}

fn read(packed: &[u8]) -> Result<Inputs> {
    let mut archive = Archive::new(GzDecoder::new(packed));
    let mut inputs = Inputs::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?;
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.context("an entry without a name")?.to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        inputs.insert(name, bytes);
    }
    Ok(inputs)
}

fn write(inputs: &Inputs) -> Result<Vec<u8>> {
    let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (name, bytes) in inputs {
        // Owner and time are 0.
        let mut header = Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &bytes[..])?;
    }
    let mut packed = archive.into_inner()?;
    packed.flush()?;
    Ok(packed.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_read_and_the_same_inputs_are_the_same_bytes() {
        let mut inputs = Inputs::new();
        for number in 0..300_usize {
            let bytes = (0..number).map(|at| (at * number) as u8).collect();
            inputs.insert(format!("{:040x}", number * 7919 % 300), bytes);
        }
        let packed = write(&inputs).unwrap();
        assert_eq!(read(&packed).unwrap(), inputs);
        let other_way: Inputs = inputs.clone().into_iter().rev().collect();
        assert_eq!(write(&other_way).unwrap(), packed);
    }
}
