//! Packets as they cross the wire, in a file that tshark reads: kept with the rest of the evidence
//! when a scenario fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cloud::{Cloud, Host},
    lab::{Lab, PATIENCE, Resident},
    ns::Namespace,
    process::Process,
};

/// Where captures are to be kept, if anywhere: how those in tests/captures were made.
const KEEP: &str = "L2HA_CAPTURES";

/// The packets of a capture file as tcpdump writes it here: little-endian, whole packets; and its
/// link type.
///
/// # Errors
///
/// When it is none, or ends early.
pub fn packets(file: &Path) -> Result<(u32, Vec<Vec<u8>>)> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(
        bytes.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]),
        "{} is no capture",
        file.display()
    );
    let word = |bytes: &[u8], at: usize| -> Result<u32> {
        let word = bytes.get(at..at + 4).context("a short file")?;
        Ok(u32::from_le_bytes(word.try_into()?))
    };
    let link_type = word(&bytes, 20)?;
    let mut rest = bytes.get(24..).context("a short file")?;
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(word(rest, 8)?)?;
        packets.push(rest.get(16..16 + length).context("a short file")?.to_vec());
        rest = &rest[16 + length..];
    }
    Ok((link_type, packets))
}

/// Copies a capture to where the environment asks for it, if it does.
///
/// # Errors
///
/// When it cannot.
pub fn keep(file: &Path, name: &str) -> Result<()> {
    if let Some(folder) = std::env::var_os(KEEP) {
        let folder = PathBuf::from(folder);
        fs::create_dir_all(&folder)?;
        fs::copy(file, folder.join(format!("{name}.pcap")))?;
    }
    Ok(())
}

/// A running tcpdump.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    said: PathBuf,
    process: Process,
    /// Under which name it is kept when it ends.
    kept: Option<String>,
}

impl Capture {
    /// Captures everything that enters a cloud, once each.
    ///
    /// The cloud's end of a host's link is the place: a frame that native XDP takes is never seen
    /// by a capture on the NIC itself.
    ///
    /// # Errors
    ///
    /// When tcpdump is not installed.
    #[track_caller]
    pub fn cloud(lab: &Lab, cloud: &Cloud, filter: &str, name: &str) -> Result<Arc<Self>> {
        Self::tcpdump(
            lab,
            cloud.router(),
            &["-i", "any", "-Q", "in"],
            filter,
            name,
            None,
        )
    }

    /// Keeps what a router hears, where the environment asks for captures. What it sends leaves its
    /// pseudowires before a capture on them could see it.
    pub(crate) fn of_heard(lab: &Lab, host: &Host) -> Result<()> {
        if std::env::var_os(KEEP).is_none() {
            return Ok(());
        }
        let name = format!("{}-{}", lab.name(), host.name);
        let all = ["-i", "any"];
        // Of BFD, which speaks all the time, the beginning.
        let few = [&all[..], &["-c", "40"]].concat();
        for (what, place, filter) in [
            ("ospf", &all[..], "inbound and ip6 proto 89"),
            ("bfd", &few, "inbound and ip6 and udp port 3784"),
        ] {
            let name = format!("{name}-{what}");
            Self::tcpdump(lab, &host.ns, place, filter, &name, Some(name.clone()))?;
        }
        Ok(())
    }

    /// Captures whole packets on an interface and waits until that has begun.
    ///
    /// # Errors
    ///
    /// When tcpdump is not installed or cannot capture there.
    #[track_caller]
    pub fn start(
        lab: &Lab,
        ns: &Namespace,
        interface: &str,
        filter: &str,
        name: &str,
    ) -> Result<Arc<Self>> {
        Self::tcpdump(lab, ns, &["-i", interface], filter, name, None)
    }

    #[track_caller]
    fn tcpdump(
        lab: &Lab,
        ns: &Namespace,
        place: &[&str],
        filter: &str,
        name: &str,
        kept: Option<String>,
    ) -> Result<Arc<Self>> {
        let file = lab.dir().join(format!("{name}.pcap"));
        let said = lab.dir().join(format!("{name}.tcpdump"));
        let mut command = Command::new("tcpdump");
        command
            .args(place)
            .args(["-n", "-U", "--immediate-mode"])
            // In KiB: enough for what arrives while the machine does something else. Each packet takes up a block
            // of the power of two above the most that is kept of it, which no packet reaches.
            .args(["-B", "131072", "-s", "130000", "-Z", "root", "-w"])
            .arg(&file)
            .args(filter.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said)?);
        let process = ns
            .spawn(command)
            .context("is tcpdump installed? apt-get install tcpdump")?;
        let capture = lab.adopt(Self {
            file,
            said,
            process,
            kept,
        });
        capture
            .process
            .wait_for(&format!("the capture {name}"), || {
                let said = fs::read_to_string(&capture.said)?;
                ensure!(said.contains("listening on"), "tcpdump says: {said}");
                Ok(Some(()))
            })?;
        Ok(capture)
    }

    /// Ends the capture and returns the file, which goes with the lab.
    ///
    /// # Errors
    ///
    /// When tcpdump does not end, or the kernel dropped packets before it could write them.
    pub fn finish(&self) -> Result<&Path> {
        // What was sent last is on its way through the packet socket.
        std::thread::sleep(Duration::from_millis(100));
        self.process.terminate(PATIENCE)?;
        let said = fs::read_to_string(&self.said)?;
        ensure!(
            said.contains("\n0 packets dropped by kernel"),
            "tcpdump missed packets: {said}"
        );
        Ok(&self.file)
    }
}

impl Resident for Capture {
    fn evidence(&self, _into: &Path) -> Result<()> {
        // The file lies in the lab's folder, which is kept whole.
        if self.process.is_running() {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn end(&self) {
        self.process.kill();
        if let Some(Err(error)) = self.kept.as_ref().map(|name| keep(&self.file, name)) {
            eprintln!("lab: {}: {error:#}", self.file.display());
        }
    }
}
