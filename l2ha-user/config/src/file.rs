//! A configuration file as it lies on the disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::ConfigError;

/// Where the paths begin that a file names.
pub(crate) fn folder(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// The file's text.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    let whole = |what: String, remedy: &str| ConfigError {
        line: None,
        key: String::new(),
        what,
        remedy: remedy.to_owned(),
    };
    let bytes = fs::read(path).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => {
                "write one (docs/l2ha.toml is a sample with every key), or name another with \
                 `--config FILE`"
            }
            io::ErrorKind::PermissionDenied => "call this command as root",
            io::ErrorKind::IsADirectory => "name a file in it with `--config FILE`",
            _ => "name another file with `--config FILE`",
        };
        whole(format!("the file cannot be read ({error})"), remedy)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ConfigError {
            line: Some(1 + before.iter().filter(|byte| **byte == b'\n').count()),
            ..whole(
                "the text is not UTF-8 from here on".to_owned(),
                "save the file as UTF-8",
            )
        }
    })
}
