//! `l2ha genkey`.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use zeroize::Zeroizing;

use super::{FINE, output};

/// Make a random cookie, a secret, or the key of a cluster's client
///
/// Every direction of a tunnel has a cookie of its own. The file that one end names as
/// receive_cookie_file is the other end's send_cookie_file: copy it there, and keep it secret.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha genkey --output /etc/l2ha/client.receive
  l2ha genkey --bytes 4 --output /etc/l2ha/client.send
  l2ha genkey --bytes 32 --output /etc/l2ha/cluster.key
  l2ha genkey --cluster /etc/l2ha/l2ha.toml --node client-1 --output client-1.key
  l2ha genkey")]
pub(super) struct Genkey {
    /// Length in bytes: 4 or 8 for a cookie, 32 for a cluster's secret or a key of OSPF
    #[arg(long, value_name = "BYTES", default_value = "8", value_parser = ["4", "8", "32"])]
    bytes: String,
    /// Derive the own key of a client of this file's cluster, to be put in place of the cluster's secret there
    #[arg(long, value_name = "FILE", requires = "node", conflicts_with = "bytes")]
    cluster: Option<PathBuf>,
    /// The client
    #[arg(long, value_name = "NAME", requires = "cluster")]
    node: Option<String>,
    /// File to write, which must not exist yet; it gets mode 0600. Without it the cookie is printed
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Genkey {
    pub(super) fn main(self) -> Result<u8> {
        if let (Some(cluster), Some(node)) = (&self.cluster, &self.node) {
            let key = config::node_key(cluster, node)?;
            match &self.output {
                Some(path) => {
                    write(path, &key)?;
                    output::error(&format!("{}: the key of {node}", path.display()));
                }
                None => output::line(&key)?,
            }
            return Ok(FINE);
        }
        let length: usize = self.bytes.parse()?;
        let hex = random(length)?;
        match &self.output {
            Some(path) => {
                write(path, &hex)?;
                output::error(&format!("{}: {length} random bytes", path.display()));
            }
            None => output::line(&hex)?,
        }
        Ok(FINE)
    }
}

/// So many random bytes, 32 at most, as digits.
pub(super) fn random(length: usize) -> Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 32]);
    let bytes = &mut bytes[..length];
    getrandom::fill(bytes).map_err(|error| anyhow!("the kernel gives no random bytes: {error}"))?;
    // With room from the beginning, so that it is not copied.
    let mut hex = Zeroizing::new(String::with_capacity(2 * length));
    for byte in bytes {
        // To a string nothing can fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// Writes a new file that only its owner can read.
pub(super) fn write(path: &Path, hex: &str) -> Result<()> {
    let shown = path.display();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
            "{shown} is there already, and a tunnel may need it; remove it first if it is to be \
             replaced"
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            bail!(
                "{shown} cannot be made: make its folder first with `mkdir -p {}`",
                folder.display()
            )
        }
        Err(error) => bail!("{shown} cannot be made: {error}"),
    };
    let written = file
        .write_all(format!("{hex}\n").as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a cookie would be taken for a wrong one later.
        let _ = fs::remove_file(path);
    }
    written.with_context(|| format!("{shown} cannot be written"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use config::Cookie;

    use super::*;

    fn genkey(bytes: &str, output: &Path) -> Result<u8> {
        Genkey {
            bytes: bytes.to_owned(),
            cluster: None,
            node: None,
            output: Some(output.to_owned()),
        }
        .main()
    }

    #[test]
    fn a_key_is_a_cookie_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        for (name, bytes, length) in [("a", "8", 8), ("b", "8", 8), ("c", "4", 4)] {
            let path = folder.path().join(name);
            genkey(bytes, &path).unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
            let cookie = Cookie::from_hex(&fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(cookie.bytes().len(), length);
            assert!(!seen.contains(&cookie), "the same twice");
            seen.push(cookie);
        }
    }

    #[test]
    fn a_key_that_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "00112233").unwrap();
        let error = genkey("8", &path).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "00112233");
        let error = genkey("8", &folder.path().join("none/key")).unwrap_err();
        assert!(error.to_string().contains("mkdir -p"), "{error}");
    }
}
