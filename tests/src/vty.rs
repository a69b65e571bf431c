//! Questions to routing daemons over their own control sockets, in their own protocols: FRR's vty
//! and BIRD's line protocol.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

const PATIENCE: Duration = Duration::from_secs(20);

fn connect(socket: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Asks a daemon of FRR, as vtysh does: a command ends with a zero byte, an answer with three of
/// them and a status (lib/vty.c, `vtysh_read`).
pub(crate) fn frr(socket: &Path, commands: &[&str]) -> Result<String> {
    let mut stream = connect(socket)?;
    let mut text = String::new();
    for command in std::iter::once(&"enable").chain(commands) {
        stream.write_all(command.as_bytes())?;
        stream.write_all(&[0])?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        let status = loop {
            let length = stream
                .read(&mut buffer)
                .with_context(|| format!("no answer from {} to `{command}`", socket.display()))?;
            ensure!(length > 0, "{} closed at `{command}`", socket.display());
            answer.extend_from_slice(&buffer[..length]);
            if let [.., 0, 0, 0, status] = answer[..] {
                break status;
            }
        };
        answer.truncate(answer.len() - 4);
        text = String::from_utf8_lossy(&answer).into_owned();
        if status != 0 {
            bail!(
                "{}: `{command}` refused ({status}): {text}",
                socket.display()
            );
        }
    }
    Ok(text)
}

/// Asks BIRD: an answer's lines start with a code of four digits and `-`, or with a space where
/// the code stays the same; the last line has a space after its code (nest/cli.c).
pub(crate) fn bird(socket: &Path, command: &str) -> Result<String> {
    let stream = connect(socket)?;
    let mut reader = BufReader::new(&stream);
    let mut greeting = String::new();
    reader.read_line(&mut greeting)?;
    ensure!(greeting.starts_with("0001 "), "BIRD greets: {greeting}");
    (&stream).write_all(format!("{command}\n").as_bytes())?;
    let mut text = String::new();
    loop {
        let mut line = String::new();
        let length = reader
            .read_line(&mut line)
            .with_context(|| format!("no answer from {} to `{command}`", socket.display()))?;
        ensure!(length > 0, "{} closed at `{command}`", socket.display());
        let code = line
            .get(..4)
            .filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
        let (code, end, rest) = match code {
            Some(code) => (code, line.as_bytes()[4] == b' ', &line[5..]),
            None => ("", false, line.get(1..).unwrap_or_default()),
        };
        if code.starts_with(['8', '9']) {
            bail!("BIRD refuses `{command}`: {rest}");
        }
        if end && rest.trim().is_empty() {
            return Ok(text);
        }
        text.push_str(rest);
        if end {
            return Ok(text);
        }
    }
}
