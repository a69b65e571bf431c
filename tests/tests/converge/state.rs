//! What the daemon keeps for its next start, and what it asks of the kernel beside what it needs: there is no room, it
//! is lost, torn, or not to be believed; it is refused. None of that keeps the node from its work, and each is named.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use caps::{CapSet, Capability};
use l2ha_lab::{
    ANYCAST, CloudOptions, Daemon, Host, Lab, Link, NodeConfig, PATIENCE, join, wait_for,
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::stat::{Mode, umask},
};
use serde_json::{Value, json};

/// A server with a tunnel and a service; it does not run yet.
struct Server {
    host: Arc<Host>,
    daemon: Arc<Daemon>,
    run_dir: PathBuf,
    name: String,
}

impl Server {
    fn prepare(lab: &Lab) -> Result<Self> {
        let (_cloud, hosts) = lab.cloud(CloudOptions::default(), &["server", "client"])?;
        let mut config = NodeConfig::new(lab, &hosts[0])?;
        let mut other = NodeConfig::new(lab, &hosts[1])?;
        join(&mut config, &mut other, Link::default())?;
        config.mode = "tc".into();
        config.services.push(("web".into(), ANYCAST));
        let name = config.name.clone();
        Ok(Self {
            host: Arc::clone(&hosts[0]),
            run_dir: config.run_dir.clone().context("the lab has one")?,
            daemon: Daemon::prepare(lab, config)?,
            name,
        })
    }

    /// A file of the node in its run folder.
    fn file(&self, ending: &str) -> PathBuf {
        self.run_dir.join(format!("{}.{ending}", self.name))
    }

    /// Whether the service's address is on the loopback.
    fn has_address(&self) -> Result<bool> {
        let text = self.host.ns.run(["ip", "-6", "address", "show", "lo"])?;
        Ok(text.contains(&ANYCAST.to_string()))
    }

    fn has(&self, interface: &str) -> Result<bool> {
        Ok(self.host.ns.ifindex(interface)?.is_some())
    }

    /// The problems' ids and texts.
    fn problems(&self) -> Result<Vec<(String, String)>> {
        let status = self.daemon.status()?;
        let problems = status["problems"].as_array().context("no problems")?.iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(problems
            .map(|it| (text(&it["id"]), text(&it["text"])))
            .collect())
    }

    #[track_caller]
    fn wait_problem(&self, id: &str, words: &str) -> Result<()> {
        wait_for(id, PATIENCE, || {
            let problems = self.problems()?;
            let found = problems.iter().any(|it| it.0 == id && it.1.contains(words));
            ensure!(found, "{problems:?}");
            Ok(Some(()))
        })
    }

    #[track_caller]
    fn wait_no_problem(&self, id: &str) -> Result<()> {
        wait_for("the problem to be over", PATIENCE, || {
            let problems = self.problems()?;
            ensure!(problems.iter().all(|it| it.0 != id), "{problems:?}");
            Ok(Some(()))
        })
    }

    /// The tunnel carries, and the service is there.
    #[track_caller]
    fn wait_in_place(&self) -> Result<()> {
        wait_for("tunnel and service", PATIENCE, || {
            let status = self.daemon.status()?;
            ensure!(status["tunnels"][0]["up"] == true, "{}", status["tunnels"]);
            ensure!(self.has_address()? && self.has("l2-client")?, "not there");
            Ok(Some(()))
        })
    }

    /// Starts the killed daemon with a configuration without the service and with another interface, and with the
    /// former one again when what was left is gone.
    #[track_caller]
    fn leftovers_go(&self) -> Result<()> {
        let before = self.daemon.config().clone();
        self.daemon.reconfigure(|config| {
            config.services.clear();
            config.tunnels[0].interface = "l2-other".into();
        })?;
        self.daemon.run()?;
        wait_for("what was left to go", PATIENCE, || {
            ensure!(!self.has_address()? && !self.has("l2-client")?, "left");
            ensure!(self.has("l2-other")?, "nothing in its place");
            Ok(Some(()))
        })?;
        self.daemon.stop()?;
        self.daemon.reconfigure(|config| *config = before)
    }
}

/// Runs in a thread that has a mount namespace and a umask of its own.
fn apart(work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    let world = || {
        unshare(CloneFlags::CLONE_NEWNS).context("no mount namespace")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        work()
    };
    thread::scope(|scope| scope.spawn(world).join().expect("the thread has panicked"))
}

/// Writes into a file until there is no room.
fn fill(file: &Path) -> Result<()> {
    let mut file = fs::File::create(file)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_17_a_full_run_folder_costs_nothing_but_a_word() -> Result<()> {
    Lab::run("state-full", |lab| {
        let server = Server::prepare(lab)?;
        apart(|| {
            let tmpfs = Some("tmpfs");
            let options = Some("size=16k,mode=755");
            mount(tmpfs, &server.run_dir, tmpfs, MsFlags::empty(), options)?;
            let filler = server.run_dir.join("filler");
            fill(&filler)?;
            server.daemon.run()?;
            server.wait_in_place()?;
            server.wait_problem("state-not-kept", "No space left on device")?;
            // A restart finds it as full.
            server.daemon.leave()?;
            ensure!(server.has_address()?, "a restart leaves everything");
            server.daemon.run()?;
            server.wait_in_place()?;
            // A crash, and nothing was ever written down.
            server.daemon.kill()?;
            server.leftovers_go()?;

            server.daemon.run()?;
            server.wait_in_place()?;
            fs::remove_file(&filler)?;
            server.wait_no_problem("state-not-kept")?;
            let journal: Value = serde_json::from_slice(&fs::read(server.file("made.json"))?)?;
            ensure!(
                journal["addresses"]
                    .to_string()
                    .contains(&ANYCAST.to_string())
            );
            server.daemon.stop()?;
            ensure!(!server.has_address()? && !server.has("l2-client")?, "left");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_17_a_run_folder_that_is_lost_or_torn_is_made_again() -> Result<()> {
    Lab::run("state-lost", |lab| {
        let server = Server::prepare(lab)?;
        let daemon = &server.daemon;
        daemon.run()?;
        server.wait_in_place()?;

        // Removed under the running daemon: a second one of this name does not start.
        fs::remove_dir_all(&server.run_dir)?;
        let binary = daemon.binary().display().to_string();
        let file = daemon.file().display().to_string();
        let (status, said) = server
            .host
            .ns
            .try_run([&binary, "run", "--config", &file])?;
        let refused = "another l2ha runs under this node name, process";
        ensure!(!status.success() && said.contains(refused), "{said}");
        wait_for("the run folder", PATIENCE, || {
            daemon.status()?;
            let journal = fs::read_to_string(server.file("made.json"))?;
            ensure!(journal.contains("l2-client"), "{journal}");
            ensure!(server.file("lock").exists() && server.file("ospf.json").exists());
            Ok(Some(()))
        })?;

        // Lost between two lives.
        daemon.kill()?;
        fs::remove_dir_all(&server.run_dir)?;
        let mark = daemon.log_mark();
        server.leftovers_go()?;
        let log = daemon.log_since(mark);
        ensure!(log.contains("does not list"), "{log}");

        // Torn, and empty.
        for torn in ["{\"pairs\":[{\"vis", ""] {
            daemon.run()?;
            server.wait_in_place()?;
            daemon.kill()?;
            for ending in ["made.json", "ospf.json", "health.json"] {
                fs::write(server.file(ending), torn)?;
            }
            let mark = daemon.log_mark();
            server.leftovers_go()?;
            let log = daemon.log_since(mark);
            ensure!(log.contains("is not believed"), "{log}");
            ensure!(fs::read_to_string(server.file("made.json.damaged"))? == torn);
        }
        Ok(())
    })
}

/// What /proc says of each thread of a process.
fn threads(pid: u32, key: &str) -> Result<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    tasks
        .map(|task| {
            let status = fs::read_to_string(task?.path().join("status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            Ok(line.context("no such line")?.trim().to_owned())
        })
        .collect()
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_18_files_are_ours_alone_and_rights_are_given_up() -> Result<()> {
    Lab::run("state-rights", |lab| {
        let server = Server::prepare(lab)?;
        apart(|| {
            umask(Mode::empty());
            // What is started now has all capabilities but this one.
            caps::drop(None, CapSet::Bounding, Capability::CAP_SETPCAP)?;
            let victim = lab.dir().join("somebody's");
            fs::write(&victim, "theirs")?;
            for ending in ["made.json", "made.json.new", "ospf.json", "health.json"] {
                symlink(&victim, server.file(ending))?;
            }
            server.daemon.run()?;
            server.wait_in_place()?;
            ensure!(
                fs::read_to_string(&victim)? == "theirs",
                "written through a link"
            );
            for (ending, mode) in [
                ("made.json", 0o600),
                ("ospf.json", 0o600),
                ("health.json", 0o600),
                ("lock", 0o600),
                ("sock", 0o660),
            ] {
                let there = fs::symlink_metadata(server.file(ending))?;
                ensure!(
                    there.mode() & 0o7777 == mode,
                    "{ending}: {:o}",
                    there.mode()
                );
                ensure!(!there.is_symlink(), "{ending} is a link still");
            }
            let pid = server.daemon.pid()?;
            // CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON and CAP_BPF (linux/capability.h).
            let needed: u64 = 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;
            for key in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
                for held in threads(pid, key)? {
                    let held = u64::from_str_radix(&held, 16)?;
                    ensure!(held & !needed == 0, "{key} {held:x}");
                }
            }
            let guarded = threads(pid, "NoNewPrivs:")?;
            ensure!(guarded.iter().all(|it| it == "1"), "{guarded:?}");
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_18_a_journal_that_names_what_is_not_ours_moves_nothing() -> Result<()> {
    Lab::run("state-forged", |lab| {
        let server = Server::prepare(lab)?;
        let ns = &server.host.ns;
        let underlay = server.daemon.config().interface.clone();
        let run = |words: &str| ns.run(words.split(' '));
        run("ip link add theirs type veth peer name l2h-theirs")?;
        run("ip address add 2001:db8::7/128 dev lo")?;
        let state = || -> Result<String> {
            let mut text = run(&format!("ip -o address show dev {underlay}"))?;
            text.push_str(&run("ip -o address show dev lo")?);
            text.push_str(&run("ip -o link show dev theirs")?);
            Ok(text)
        };
        let before = state()?;
        let address = |interface: &str, address: &str, length: u8| json!({"interface": interface, "address": address, "prefix_len": length});
        let v4 = server.host.v4.to_string();
        let journal = json!({
            "pairs": [
                {"visible": underlay, "hidden": underlay},
                {"visible": "theirs", "hidden": "l2h-theirs-not"},
            ],
            "addresses": [
                address(&underlay, &v4, 24),
                address("lo", "::1", 128),
                address("lo", "127.0.0.1", 8),
                address("lo", "2001:db8::7", 128),
            ],
            "routes": [{"table": 255, "priority": 0}, {"table": 254, "priority": 0}],
            "clsact": [underlay, "lo"],
        });
        fs::write(server.file("made.json"), journal.to_string())?;
        let mark = server.daemon.log_mark();
        server.daemon.run()?;
        server.wait_in_place()?;
        server.daemon.stop()?;
        let after = state()?;
        ensure!(before == after, "{before}\nbecame\n{after}");
        let log = server.daemon.log_since(mark);
        ensure!(
            log.contains(&format!("lists {underlay}, which does not bear")),
            "{log}"
        );
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn fault_17_what_is_only_better_is_no_condition() -> Result<()> {
    Lab::run("state-niceties", |lab| {
        let server = Server::prepare(lab)?;
        let (ns, daemon) = (&server.host.ns, &server.daemon);
        let underlay = daemon.config().interface.clone();
        // IPv6 is off for new interfaces.
        ns.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        daemon.run()?;
        server.wait_in_place()?;

        // An underlay that leaves too little for IPv6.
        ns.run(["ip", "link", "set", &underlay, "mtu", "1300"])?;
        server.wait_problem(
            "tunnel-not-in-place",
            "too small for IPv6, which needs 1280",
        )?;
        ns.run(["ip", "link", "set", &underlay, "mtu", "1500"])?;
        server.wait_in_place()?;

        // A program is pinned in the place of a map.
        daemon.kill()?;
        let pins = daemon.config().pins();
        let mut folders = fs::read_dir(&pins)?.filter_map(|it| Some(it.ok()?.path()));
        let folder = folders
            .find(|it| it.is_dir())
            .context("no folder of maps")?;
        let mut maps = fs::read_dir(&folder)?.filter_map(|it| Some(it.ok()?.path()));
        let is_sessions = |it: &PathBuf| it.to_string_lossy().contains("/SESSIONS_");
        let map = maps.find(is_sessions).context("no map")?;
        fs::remove_file(&map)?;
        let programs = l2ha_lab::attached(ns)?;
        let id = programs.first().context("no program")?.id.to_string();
        let pin = map.to_string_lossy().into_owned();
        ns.run(["bpftool", "prog", "pin", "id", &id, &pin])?;
        let mark = daemon.log_mark();
        daemon.run()?;
        server.wait_in_place()?;
        let log = daemon.log_since(mark);
        ensure!(log.contains("moved out of the way"), "{log}");
        daemon.stop()?;
        ensure!(!pins.exists(), "pins are left");

        apart(|| {
            let none = None::<&str>;
            let sys = "/proc/sys";
            mount(Some(sys), sys, none, MsFlags::MS_BIND, none)?;
            let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(none, sys, none, read_only, none)?;
            // IPv6 is needed, and cannot be had: that is what is said.
            daemon.run()?;
            server.wait_problem("tunnel-not-in-place", "IPv6 is off on l2-client")?;
            daemon.stop()
        })?;
        ns.sysctl("net/ipv6/conf/default/disable_ipv6", "0")?;
        apart(|| {
            let none = None::<&str>;
            let sys = "/proc/sys";
            mount(Some(sys), sys, none, MsFlags::MS_BIND, none)?;
            let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(none, sys, none, read_only, none)?;
            daemon.run()?;
            server.wait_in_place()?;
            server.wait_problem("setting-refused", "Read-only file system")
        })
    })
}
