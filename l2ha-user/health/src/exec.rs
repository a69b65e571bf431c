//! Programs that are run for a check, or told of a change: bounded in number, time and output, and ended with
//! everything that they have started.

use std::{
    fs,
    io::{self, PipeReader, Read as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill, killpg},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::{Pid, getpgid},
};
use tokio::sync::Semaphore;

use crate::attempt::{plain, shown};

/// How many programs run at the same time; more wait, which counts as a part of their time.
const MOST: usize = 16;
/// How much of what a program prints is kept in bytes; the rest is read and forgotten.
const LONGEST: usize = 4096;
/// How much of that is shown.
const SHOWN: usize = 200;
/// How often a running program is looked at.
const LOOK: u16 = 5;
/// What programs have for a PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Generations of orphans that are ended after a program.
const GENERATIONS: usize = 16;

static PLACES: Semaphore = Semaphore::const_new(MOST);
/// The process groups of the programs that run.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Runs a program with these variables, at most this long; why it did not end with status 0.
pub(crate) async fn run(
    command: Vec<String>,
    environment: Vec<(String, String)>,
    limit: Duration,
) -> Result<(), String> {
    let late = format!("not ended within {}", shown(limit));
    let until = Instant::now() + limit;
    let Ok(place) = tokio::time::timeout(limit, PLACES.acquire()).await else {
        return Err(format!(
            "{MOST} other programs were running for {}",
            shown(limit)
        ));
    };
    let unwanted = Unwanted::default();
    let flag = Arc::clone(&unwanted.0);
    let ran = tokio::task::spawn_blocking(move || one(&command, &environment, until, &flag));
    let outcome = ran
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
    drop((place, unwanted));
    match outcome {
        Ok((Some(status), _)) if status.success() => Ok(()),
        Ok((Some(status), output)) => Err(ended(status, &output)),
        Ok((None, _)) => Err(late),
        Err(error) => Err(plain(&error)),
    }
}

/// Whether nobody waits for a program any more; set when this is dropped.
#[derive(Default)]
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How a program has ended, with the first line that it printed.
fn ended(status: ExitStatus, output: &[u8]) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
    };
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let Some(line) = line else {
        return how;
    };
    let line: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect();
    format!("{how}: {line}")
}

/// Runs it until it ends or the time is over; its status, if it has one, and what it printed.
fn one(
    command: &[String],
    environment: &[(String, String)],
    until: Instant,
    unwanted: &AtomicBool,
) -> io::Result<(Option<ExitStatus>, Vec<u8>)> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (mut output, input) = io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input)
        .process_group(0);
    let child = {
        // Nobody takes it for an orphan before it is in the list.
        let mut running = running();
        let child = command.spawn()?;
        running.push(group(&child));
        child
    };
    drop(command);
    let mut running_child = Running(child);
    let mut kept = Vec::new();
    let mut open = true;
    loop {
        if let Some(status) = running_child.0.try_wait()? {
            if open {
                read(&mut output, &mut kept)?;
            }
            return Ok((Some(status), kept));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || unwanted.load(Ordering::Relaxed) {
            return Ok((None, kept));
        }
        let pause = u16::try_from(left.as_millis())
            .unwrap_or(LOOK)
            .clamp(1, LOOK);
        if open {
            let mut wait = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            // A signal wakes too early, which does no harm.
            let _ = poll(&mut wait, PollTimeout::from(pause));
            open = read(&mut output, &mut kept)?;
        } else {
            std::thread::sleep(Duration::from_millis(pause.into()));
        }
    }
}

/// Reads what is there, at most one piece; whether there can be more.
fn read(output: &mut PipeReader, kept: &mut Vec<u8>) -> io::Result<bool> {
    let mut wait = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    if poll(&mut wait, PollTimeout::ZERO).unwrap_or_default() == 0 {
        return Ok(true);
    }
    let mut piece = [0; LONGEST];
    let length = output.read(&mut piece)?;
    let room = LONGEST.saturating_sub(kept.len());
    kept.extend_from_slice(&piece[..length.min(room)]);
    Ok(length > 0)
}

fn running() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child leads a process group of its own number.
fn group(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// A program that runs; dropping it ends it, its group, and what has left that.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let group = group(&self.0);
        // Nothing of it may be left.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.0.kill();
        let _ = self.0.wait();
        let mut running = running();
        running.retain(|other| *other != group);
        end_orphans(&running);
    }
}

/// Ends processes that have become ours because their parents have ended, as we are their reaper
/// (`PR_SET_CHILD_SUBREAPER`), but for those of programs that still run.
fn end_orphans(running: &[Pid]) {
    for _ in 0..GENERATIONS {
        let mut ended = false;
        for pid in children() {
            if running.contains(&pid) {
                continue;
            }
            let theirs = getpgid(Some(pid)).is_ok_and(|group| running.contains(&group));
            if theirs {
                continue;
            }
            ended |= kill(pid, Signal::SIGKILL).is_ok();
            // Its own children become ours now, for the next round.
            let _ = waitpid(pid, Some(WaitPidFlag::__WALL));
        }
        if !ended {
            return;
        }
    }
}

/// The children of this process, whichever thread has them.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let numbers = list.split_whitespace().map(str::to_owned);
            numbers.collect::<Vec<_>>()
        })
        .filter_map(|number| number.parse().ok().map(Pid::from_raw))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64) -> Result<(), String> {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let variables = vec![("L2HA_STATE".to_owned(), "passing".to_owned())];
        runtime.block_on(run(command, variables, Duration::from_millis(limit)))
    }

    /// One test, because all of a process's orphans are looked at.
    #[test]
    fn programs_are_judged_bounded_and_ended_with_all_they_started() {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        assert_eq!(shell("exit 0", 5000), Ok(()));
        assert_eq!(
            shell("test $L2HA_STATE = passing && test -z \"$HOME\"", 5000),
            Ok(())
        );
        let two = shell("echo; echo no disk >&2; exit 2", 5000);
        assert_eq!(two.unwrap_err(), "ended with status 2: no disk");
        assert_eq!(
            shell("kill -9 $$", 5000).unwrap_err(),
            "was ended by signal 9"
        );
        let absent = vec!["/no/such/program".to_owned()];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let absent = runtime.block_on(run(absent, Vec::new(), Duration::from_secs(1)));
        assert_eq!(absent.unwrap_err(), "not found");

        // More output than a pipe takes.
        assert_eq!(shell("yes | head -c 1000000; exit 0", 20000), Ok(()));

        let began = Instant::now();
        let folder = tempfile::tempdir().unwrap();
        let note = |name: &str| folder.path().join(name).display().to_string();
        let (group, session) = (note("group"), note("session"));
        let script = format!(
            "sleep 600 & echo $! > {group}; setsid sh -c 'sleep 600 & echo $! > {session}; wait' & wait"
        );
        assert_eq!(shell(&script, 700).unwrap_err(), "not ended within 700 ms");
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        for file in [group, session] {
            let pid: i32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
            assert!(
                kill(Pid::from_raw(pid), None).is_err(),
                "{file}: {pid} is alive"
            );
        }
        // What goes on behind a program that has ended well is ended too.
        let behind = note("behind");
        let script = format!("setsid sleep 600 & echo $! > {behind}");
        assert_eq!(shell(&script, 5000), Ok(()));
        let pid: i32 = fs::read_to_string(&behind).unwrap().trim().parse().unwrap();
        assert!(kill(Pid::from_raw(pid), None).is_err(), "{pid} is alive");
        assert!(running().is_empty());
    }
}
