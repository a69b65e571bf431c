//! A command whose output goes to the terminal and is kept, and what in it tells why a test failed.

use std::{
    fs::{self, File},
    io::{self, PipeReader, Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::cmd::{finished, show};

/// How long to wait for the last of the output once the command has ended.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// Runs a command to its end; what it prints goes to the terminal and to a file.
///
/// # Errors
///
/// Names the command when it cannot be started or does not exit with 0, or the file that cannot be written.
pub(crate) fn run_kept(command: &mut Command, file: &Path) -> Result<()> {
    let folder = file.parent().context("a file without a folder")?;
    let kept = fs::create_dir_all(folder)
        .and_then(|()| File::create(file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    // One pipe for both, so that lines stay in their order.
    let (reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let child = command.spawn();
    // The command holds the pipe's ends until it is told otherwise, and the reader would wait for them.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.with_context(|| format!("cannot start {}", show(command)))?;

    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(copy(reader, kept)));
    let status = child.wait()?;
    // What the command left running may hold the pipe for as long as it likes.
    if let Ok(copied) = end.recv_timeout(STRAGGLERS) {
        copied.with_context(|| format!("cannot show or keep what {} prints", show(command)))?;
    }
    finished(command, status)
}

/// Copies what is read to the terminal and to a file until there is no more.
fn copy(mut reader: PipeReader, mut file: File) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        let length = reader.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..length])?;
        let mut terminal = io::stdout().lock();
        terminal.write_all(&buffer[..length])?;
        terminal.flush()?;
    }
}

/// The names of the tests that failed, as libtest lists them at its end; none when it did not come so far.
pub(crate) fn failed_tests(output: &str) -> Vec<String> {
    let Some((_, list)) = output.rsplit_once("\nfailures:\n") else {
        return Vec::new();
    };
    list.lines()
        .map_while(|line| line.strip_prefix("    "))
        .map(str::to_owned)
        .collect()
}

/// The lines of a run that say what went wrong; its last ones if none does.
pub(crate) fn faults(output: &str) -> Vec<&str> {
    const MOST: usize = 40;
    const LAST: usize = 10;
    let mut faults = Vec::new();
    let mut inside = false;
    for line in output.lines() {
        let begins = ["Error: ", "error: ", "error["];
        if line.contains(" panicked at ") || begins.iter().any(|begin| line.starts_with(begin)) {
            inside = true;
        }
        let is_verdict = line.starts_with("test ");
        // The last line of one that failed is its name.
        if (inside && !is_verdict) || line.ends_with(" ... FAILED") {
            faults.push(line);
        }
        inside &= !is_verdict;
    }
    if faults.is_empty() {
        let lines: Vec<_> = output.lines().collect();
        return lines[lines.len().saturating_sub(LAST)..].to_vec();
    }
    faults.truncate(MOST);
    faults
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const OUTPUT: &str = "
running 3 tests
   1.0 s  one: said
Error: a next hop: not within 40.0 s

Caused by:
    [], not over r2
test behind_two ... FAILED
   2.0 s  two: said
test withdrawn ... ok
thread 'deep' panicked at src/a.rs:1:2:
too small
test deep ... FAILED

failures:

failures:
    behind_two
    deep

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s

error: test failed, to rerun pass `-p l2ha-tests --test topologies`
";

    #[test]
    fn failed_tests_are_those_listed_at_the_end() {
        assert_eq!(failed_tests(OUTPUT), ["behind_two", "deep"]);
        assert!(failed_tests("error: could not compile").is_empty());
    }

    #[test]
    fn faults_are_the_errors_and_whose_they_are() {
        let wanted = [
            "Error: a next hop: not within 40.0 s",
            "",
            "Caused by:",
            "    [], not over r2",
            "test behind_two ... FAILED",
            "thread 'deep' panicked at src/a.rs:1:2:",
            "too small",
            "test deep ... FAILED",
            "error: test failed, to rerun pass `-p l2ha-tests --test topologies`",
        ];
        assert_eq!(faults(OUTPUT), wanted);
        assert_eq!(faults("one\ntwo"), ["one", "two"]);
    }

    #[test]
    fn what_it_leaves_running_is_not_waited_for() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 30 & echo $!"]);
        let start = Instant::now();
        let file = folder.path().join("sh.log");
        run_kept(&mut command, &file)?;
        assert!(start.elapsed() < Duration::from_secs(20));
        let left = fs::read_to_string(&file)?;
        crate::cmd::run(Command::new("kill").arg(left.trim()))
    }

    #[test]
    fn what_is_printed_is_kept_although_the_command_fails() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("logs/sh.log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let error = run_kept(&mut command, &file).expect_err("it exits with 3");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert_eq!(fs::read_to_string(&file)?, "out\nerr\n");
        Ok(())
    }
}
