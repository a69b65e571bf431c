//! The lab's end of the conversation with `init.sh`: one shell script at a time, its status and
//! its output.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

/// How much longer than the script itself its answer may take.
const MARGIN: Duration = Duration::from_secs(60);

/// The control channel of a virtual machine.
#[derive(Debug)]
pub(super) struct Agent {
    stream: BufReader<UnixStream>,
    requests: u64,
}

impl Agent {
    /// Makes the socket that qemu connects to.
    pub(super) fn listen(path: &Path) -> Result<UnixListener> {
        let listener = UnixListener::bind(path)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Takes qemu's connection if it is there.
    pub(super) fn accept(listener: &UnixListener) -> Result<Option<UnixStream>> {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the machine has booted and its agent reports.
    pub(super) fn greet(stream: UnixStream, patience: Duration) -> Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .with_context(|| format!("nothing heard for {} s", patience.as_secs()))?;
        ensure!(line == "ready\n", "the agent says {line:?}");
        Ok(Self {
            stream,
            requests: 0,
        })
    }

    /// Runs a script for at most `limit` and returns its status and what it wrote.
    pub(super) fn run(&mut self, script: &str, limit: Duration) -> Result<(u8, String)> {
        self.requests += 1;
        let id = self.requests;
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(limit + MARGIN))?;
        stream.set_write_timeout(Some(MARGIN))?;
        let request = format!("{id} {} {}\n{script}", limit.as_secs().max(1), script.len());
        stream
            .write_all(request.as_bytes())
            .context("the virtual machine takes no more requests")?;
        // The answer to an earlier request, given up on, may still come first.
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).context("no answer")?;
            let words: Vec<_> = line.split_whitespace().collect();
            let &[answered, status, length] = &words[..] else {
                anyhow::bail!("the virtual machine's agent is gone, or says nonsense: {line:?}");
            };
            let mut output = vec![0; length.parse()?];
            self.stream
                .read_exact(&mut output)
                .context("half an answer")?;
            if answered == id.to_string() {
                return Ok((
                    status.parse()?,
                    String::from_utf8_lossy(&output).into_owned(),
                ));
            }
        }
    }
}
