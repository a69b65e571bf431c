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
    cloud::Cloud,
    lab::{Lab, Resident, wait_for},
    ns::Namespace,
    process::Process,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// A running tcpdump.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    said: PathBuf,
    process: Process,
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
    pub fn cloud(lab: &Lab, cloud: &Cloud, filter: &str, name: &str) -> Result<Arc<Self>> {
        Self::tcpdump(
            lab,
            cloud.router(),
            &["-i", "any", "-Q", "in"],
            filter,
            name,
        )
    }

    /// Captures whole packets on an interface and waits until that has begun.
    ///
    /// # Errors
    ///
    /// When tcpdump is not installed or cannot capture there.
    pub fn start(
        lab: &Lab,
        ns: &Namespace,
        interface: &str,
        filter: &str,
        name: &str,
    ) -> Result<Arc<Self>> {
        Self::tcpdump(lab, ns, &["-i", interface], filter, name)
    }

    fn tcpdump(
        lab: &Lab,
        ns: &Namespace,
        place: &[&str],
        filter: &str,
        name: &str,
    ) -> Result<Arc<Self>> {
        let file = lab.dir().join(format!("{name}.pcap"));
        let said = lab.dir().join(format!("{name}.tcpdump"));
        let mut command = Command::new("tcpdump");
        command
            .args(place)
            .args(["-n", "-U", "--immediate-mode"])
            // In KiB: enough for what arrives while the machine does something else.
            .args(["-B", "65536", "-s", "0", "-Z", "root", "-w"])
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
        });
        wait_for(&format!("the capture {name}"), PATIENCE, || {
            let said = fs::read_to_string(&capture.said)?;
            ensure!(capture.process.is_running(), "tcpdump says: {said}");
            Ok(said.contains("listening on").then_some(()))
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
    }
}
