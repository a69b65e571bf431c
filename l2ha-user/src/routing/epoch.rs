//! What OSPF must remember over a crash: the number of this life of the router, which is the high
//! half of the sequence numbers of authenticated packets (RFC 7166 4.1).

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
struct Memory {
    authentication_epoch: u32,
}

/// Time of day since 1970.
pub(super) fn wall_clock() -> Duration {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    // Before 1970 is as good as 1970: the clock is wrong anyway.
    since.unwrap_or_default()
}

/// A number greater than that of every life before: the seconds since 1970, or one more than the
/// last if the clock went back. It is written down before it is used.
pub(super) fn next(path: &Path, wall: Duration) -> Result<u32> {
    let last = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice::<Memory>(&bytes)
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "this file is damaged, beginning anew");
            })
            .map_or(0, |memory| memory.authentication_epoch),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    let seconds = u32::try_from(wall.as_secs()).unwrap_or(u32::MAX);
    let authentication_epoch = seconds.max(last.saturating_add(1));
    let bytes = serde_json::to_vec(&Memory {
        authentication_epoch,
    })?;
    let new = path.with_extension("json.new");
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(authentication_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_whatever_the_clock_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.ospf.json");
        let at = |seconds| next(&path, Duration::from_secs(seconds)).unwrap();
        assert_eq!(at(1_800_000_000), 1_800_000_000);
        assert_eq!(at(1_800_000_000), 1_800_000_001);
        assert_eq!(at(5), 1_800_000_002);
        assert_eq!(at(1_800_000_900), 1_800_000_900);
        fs::write(&path, "{").unwrap();
        assert_eq!(at(1_800_001_000), 1_800_001_000);
    }
}
