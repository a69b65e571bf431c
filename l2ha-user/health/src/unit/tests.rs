//! With a real systemd, the one that a user has, and a real dbus-daemon, in namespaces of their own.

use std::{
    collections::HashMap,
    fs,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use config::{Check, CheckKind};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use zbus::Variant;

use super::*;
use crate::{Health, Verdict, Watched};

const PATIENCE: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(5);
/// It starts dbus-daemon itself, by a socket, because it goes to the bus of a unit only.
const UNITS: [(&str, &str); 4] = [
    ("dbus.socket", "[Socket]\nListenStream=%t/bus\n"),
    (
        "dbus.service",
        "Requires=dbus.socket\n[Service]\nType=notify\n\
         ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation\n",
    ),
    ("lab.target", "Requires=dbus.service\n"),
    (
        "web.service",
        "StartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 2\n",
    ),
];
/// A user's systemd is not the first process of its namespace. It has a private /run that says that systemd was booted, and a control group of its own.
const SCRIPT: &str = r#"
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$GROUP"
echo 0 > "/sys/fs/cgroup/$GROUP/cgroup.procs"
/lib/systemd/systemd --user --unit=lab.target --log-target=null &
wait
"#;

struct Systemd {
    child: Child,
    folder: tempfile::TempDir,
    group: String,
}

impl Systemd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in UNITS {
            let text = format!("[Unit]\nDefaultDependencies=no\n{text}");
            fs::write(folder.path().join(name), text).unwrap();
        }
        let group = format!("l2ha-test-{}", std::process::id());
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
            .args(["sh", "-c", SCRIPT])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("GROUP", &group)
            .env("HOME", folder.path())
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("SYSTEMD_UNIT_PATH", folder.path())
            .env("DBUS_SESSION_BUS_ADDRESS", address(&folder))
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self {
            child,
            folder,
            group,
        }
    }

    /// A signal to systemd itself, the child of the namespace's first process.
    fn signal(&self, signal: Signal) {
        let child = |pid: i32| -> i32 {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            children.unwrap().trim().parse().unwrap()
        };
        let systemd = child(child(self.child.id().try_into().unwrap()));
        kill(Pid::from_raw(systemd), signal).unwrap();
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // Its namespace ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mounted = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mut roots = mounted.lines().filter_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some("cgroup2")).then(|| words.next())?
        });
        if let Some(root) = roots.next() {
            let group = PathBuf::from(root).join(&self.group);
            let until = Instant::now() + PATIENCE;
            while group.exists() && Instant::now() < until {
                remove(&group);
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Removes a control group and those in it, as far as they have no processes.
fn remove(group: &std::path::Path) {
    let inner = fs::read_dir(group).into_iter().flatten().flatten();
    for inner in inner.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())) {
        remove(&inner.path());
    }
    let _ = fs::remove_dir(group);
}

fn address(folder: &tempfile::TempDir) -> &'static str {
    // Kept until the test's process ends.
    format!("unix:path={}/bus", folder.path().display()).leak()
}

fn watch(systemd: &Systemd) -> UnitWatch {
    UnitWatch::new(address(&systemd.folder))
}

/// Tells systemd something about a unit, as `systemctl` does.
async fn tell(
    connection: &Connection,
    method: &str,
    body: &(impl serde::Serialize + zbus::DynamicType),
) {
    connection
        .call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), method, body)
        .await
        .unwrap();
}

/// Starts the unit until it is active: what is still being stopped may end as that, or as what was wanted last.
async fn start(operator: &Connection, watch: &mut UnitWatch, after: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        tell(operator, "StartUnit", &("web.service", "replace")).await;
        match watch.ask("web.service", LIMIT).await {
            Ok(()) => return,
            Err(why) => assert!(Instant::now() < until, "after {after}: {why}"),
        }
        sleep(PAUSE * 10).await;
    }
}

/// How a unit has failed, and how soon that was told.
async fn failed(watch: &mut UnitWatch) -> (String, Duration) {
    let from = Instant::now();
    let why = timeout(PATIENCE, watch.failed()).await;
    (why.expect("a signal"), from.elapsed())
}

/// A check of an active unit, which is killed when it passes.
fn in_the_thread(bus: &'static str, kill: impl Fn()) {
    let health = Health::start_at(bus, || {}).unwrap();
    let check = Check {
        kind: CheckKind::Unit("web.service".to_owned()),
        interval: Duration::from_secs(3600),
        timeout: LIMIT,
        fall: 5,
        rise: 1,
    };
    health.watch(vec![Watched {
        name: "web".to_owned(),
        checks: vec![check],
        passing: false,
    }]);
    let wait = |verdict| {
        let until = Instant::now() + PATIENCE;
        loop {
            let state = health.states().borrow().get("web").cloned();
            if let Some(state) = state.as_ref().filter(|it| it.verdict == verdict) {
                return state.clone();
            }
            assert!(Instant::now() < until, "{state:?}");
            std::thread::sleep(PAUSE);
        }
    };
    wait(Verdict::Passing);
    kill();
    let reason = wait(Verdict::Failed).failure.unwrap().reason;
    assert!(reason.starts_with("web.service is "), "{reason}");
}

async fn play() {
    let mut absent = UnitWatch::new("unix:path=/nonexistent/bus");
    assert_eq!(
        absent.ask("web.service", LIMIT).await.unwrap_err(),
        "cannot be asked for: D-Bus at unix:path=/nonexistent/bus: not found; \
         start dbus, or check it by tcp, http or exec instead"
    );
    assert!(timeout(PAUSE, absent.failed()).await.is_err());

    let systemd = Systemd::start();
    let mut web = watch(&systemd);
    let until = Instant::now() + PATIENCE;
    let why = loop {
        let why = web.ask("web.service", LIMIT).await.unwrap_err();
        if !why.starts_with("cannot be asked for") {
            break why;
        }
        assert!(Instant::now() < until, "{why}");
        sleep(PAUSE).await;
    };
    assert_eq!(why, "is inactive");
    let nothing = watch(&systemd).ask("nothing.service", LIMIT).await;
    assert_eq!(nothing.unwrap_err(), "is not known to systemd");

    let operator = Builder::address(address(&systemd.folder));
    let operator = operator.build().await.unwrap();
    start(&operator, &mut web, "its beginning").await;
    assert!(
        timeout(PAUSE * 20, web.failed()).await.is_err(),
        "it is active"
    );

    // Its process is killed.
    tell(&operator, "KillUnit", &("web.service", "all", 9i32)).await;
    let (why, after) = failed(&mut web).await;
    assert!(["is failed", "is deactivating"].contains(&&*why), "{why}");
    println!("killed: {why}, told after {after:?}");
    sleep(PAUSE * 10).await;
    assert_eq!(
        web.ask("web.service", LIMIT).await.unwrap_err(),
        "is failed"
    );

    // It is stopped, which takes it 2 s.
    start(&operator, &mut web, "it was killed").await;
    tell(&operator, "StopUnit", &("web.service", "replace")).await;
    let (why, after) = failed(&mut web).await;
    println!("stopped: {why}, told after {after:?}");
    assert_eq!(why, "is deactivating");
    assert!(after < Duration::from_secs(2), "{after:?}");

    // More is told than is looked at.
    start(&operator, &mut web, "it was stopped").await;
    let path = &web.bus.as_ref().unwrap().path;
    let nothing: (_, HashMap<&str, Variant<'_>>, &[&str]) = (UNIT, HashMap::new(), &[]);
    for _ in 0..1000 {
        let told = operator.emit_signal(
            None::<&str>,
            path,
            PROPERTIES,
            "PropertiesChanged",
            &nothing,
        );
        told.await.unwrap();
    }
    assert_eq!(web.ask("web.service", LIMIT).await, Ok(()));
    assert!(timeout(PAUSE * 10, web.failed()).await.is_err());

    // The thread hears of it long before the next attempt, and the check has failed at once.
    tokio::task::spawn_blocking({
        let bus = address(&systemd.folder);
        let (operator, handle) = (operator.clone(), tokio::runtime::Handle::current());
        move || {
            in_the_thread(bus, || {
                let kill = ("web.service", "all", 9i32);
                handle.block_on(tell(&operator, "KillUnit", &kill));
            })
        }
    })
    .await
    .unwrap();
    start(&operator, &mut web, "it was killed again").await;

    // It hangs, and goes on.
    systemd.signal(Signal::SIGSTOP);
    let limit = Duration::from_millis(200);
    assert_eq!(
        web.ask("web.service", limit).await.unwrap_err(),
        "no answer within 200 ms"
    );
    assert_eq!(
        web.ask("web.service", limit).await.unwrap_err(),
        "no answer within 200 ms"
    );
    systemd.signal(Signal::SIGCONT);
    start(&operator, &mut web, "systemd was stopped").await;

    // It ends with the bus.
    drop(systemd);
    assert!(
        timeout(PAUSE * 10, web.failed()).await.is_err(),
        "nobody tells"
    );
    let why = web.ask("web.service", LIMIT).await.unwrap_err();
    assert!(why.starts_with("cannot be asked for: "), "{why}");
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_unit_is_followed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, play());
}
