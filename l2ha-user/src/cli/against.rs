//! `l2ha check --against`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use config::{Comparison, ConfigErrors, NodeFile};
use serde_json::{Value, json};

use super::{FINE, USAGE, output};

/// Compares this host's file, or the one that `--config` names, with those of other nodes.
pub(super) fn main(first: &Path, others: &[PathBuf], as_json: bool) -> Result<u8> {
    let paths: Vec<&Path> = [first]
        .into_iter()
        .chain(others.iter().map(PathBuf::as_path))
        .collect();
    each_once(&paths)?;
    let (mut files, mut refused) = (Vec::new(), Vec::new());
    for path in &paths {
        match NodeFile::load(path, *path == first) {
            Ok(file) => files.push(file),
            Err(errors) => refused.push(errors),
        }
    }
    // What follows from a file's own mistakes is not said twice.
    let comparison = match refused.is_empty() {
        true => config::compare(&files),
        false => Comparison::default(),
    };
    let fits = refused.is_empty() && comparison.misfits.is_empty();
    if as_json {
        output::json(&as_value(&paths, &refused, &comparison, fits))?;
    } else {
        show(&paths, &refused, &comparison)?;
    }
    Ok(if fits { FINE } else { USAGE })
}

/// A file that is named twice would be at odds with itself.
fn each_once(paths: &[&Path]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for path in paths {
        // What cannot be found is said when it is read.
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if !seen.insert(real) {
            bail!(
                "{} is named twice; name the files of other nodes after `--against`, and the first with `--config`",
                path.display()
            );
        }
    }
    Ok(())
}

fn as_value(
    paths: &[&Path],
    refused: &[ConfigErrors],
    comparison: &Comparison,
    fits: bool,
) -> Value {
    let errors = refused.iter().flat_map(|errors| {
        let of_file = errors.errors().iter();
        of_file.map(|error| {
            json!({
                "file": errors.file(),
                "line": error.line,
                "key": error.key,
                "what": error.what,
                "remedy": error.remedy,
            })
        })
    });
    json!({
        "version": 1,
        "files": paths,
        "ok": fits,
        "errors": errors.collect::<Vec<_>>(),
        "misfits": comparison.misfits,
        "tunnels": comparison.tunnels,
        "notes": comparison.notes,
    })
}

fn show(paths: &[&Path], refused: &[ConfigErrors], comparison: &Comparison) -> Result<()> {
    for errors in refused {
        output::error(&errors.to_string());
    }
    for misfit in &comparison.misfits {
        output::error(&format!("{misfit} [{}]", misfit.id));
    }
    let count = |number: usize, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    };
    let files = count(paths.len(), "file", "files");
    match (refused.len(), comparison.misfits.len()) {
        (0, 0) => output::line(&format!(
            "{files} fit: {} compared at both ends",
            count(comparison.tunnels, "tunnel", "tunnels")
        ))?,
        (0, misfits) => output::error(&format!(
            "{files}: {}",
            count(misfits, "thing does not fit", "things do not fit")
        )),
        (refused, _) => output::error(&format!(
            "{files}: {} mistakes of {} own; nothing was compared",
            count(refused, "has", "have"),
            if refused == 1 { "its" } else { "their" },
        )),
    }
    for note in &comparison.notes {
        output::line(&format!("note: {note}"))?;
    }
    Ok(())
}
