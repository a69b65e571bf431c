//! Our programs in another kernel: its verifier, its hooks, its virtio_net and its veth.
//!
//! The kernel is Debian's 6.1, or what `cargo xtask test --kernel` asks for. The data plane's own
//! tests run in the machine, and a daemon there talks with one here, with native XDP on the NIC and
//! with tc.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Host, Lab, Link, NodeConfig, UNDERLAY,
    vm::{Data, Extras, Pseudowire, SERIES, Vm, join_vm},
    wait_for,
};
use serde_json::Value;

/// The tests that need nothing but a kernel and iproute2; but for the first, which has the verifier see every
/// program, they take minutes each in an emulated machine and are run only where a kernel was asked for.
const TESTS: [&str; 6] = [
    "dataplane_attach",
    "dataplane_encap",
    "dataplane_decap",
    "dataplane_rows",
    "dataplane_net",
    "dataplane_corpus",
];
const QUICK: usize = 1;
/// For one of them, in a machine that is emulated.
const TEST: Duration = Duration::from_secs(900);
const PATIENCE: Duration = Duration::from_secs(60);
/// Each kernel's verifier, each program: what the figures are now. A rise by a quarter is a finding;
/// one that is meant is written down here.
const COSTS: &str = include_str!("../../verifier-costs.json");

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn our_programs_work_in_its_kernel() -> Result<()> {
    Lab::run("vm-kernel", |lab| {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["node"])?;
        let mut programs = vec![
            "/usr/bin/ping".into(),
            "/usr/sbin/tc".into(),
            "/usr/sbin/bpftool".into(),
        ];
        programs.push(stripped(lab, &lab.binary()?, "l2ha")?);
        let count = if std::env::var_os(SERIES).is_some() {
            TESTS.len()
        } else {
            QUICK
        };
        let tests = TESTS.iter().copied().take(count);
        for test in tests.clone() {
            programs.push(stripped(lab, &executable(test)?, test)?);
        }
        let extras = Extras {
            programs,
            ..Extras::default()
        };
        let vm = Vm::boot_with(lab, &cloud, "vm", 200, &extras)?;
        vm.run("mount -t bpf bpf /sys/fs/bpf")?;

        let mut faults = Vec::new();
        for test in tests {
            let (status, text) = vm.try_run(
                &format!("{test} --ignored --nocapture --test-threads 1"),
                TEST,
            )?;
            let last = text
                .lines()
                .rev()
                .find(|line| line.starts_with("test result"));
            lab.say(format_args!("{test}: {}", last.unwrap_or("no result")));
            if status != 0 {
                faults.push(format!("{test}: status {status}\n{text}"));
            }
            if test == "dataplane_attach" {
                faults.extend(costs(lab, &vm, &text)?);
            }
        }
        ensure!(faults.is_empty(), "{}", faults.join("\n"));

        let mut config = NodeConfig::tunnels_only(lab, &hosts[0])?;
        let end = join_vm(&mut config, &vm, 1, Link::default())?;
        let daemon = Daemon::start(lab, config)?;
        for mode in ["xdp", "tc"] {
            talk(lab, &hosts[0], &vm, &end, mode).with_context(|| format!("mode {mode}"))?;
        }
        daemon.stop()
    })
}

/// The test's program, as cargo builds it.
fn executable(test: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["test", "--no-run", "--quiet", "--message-format", "json"])
        .args(["--package", "dataplane", "--test", test])
        .output()
        .context("cannot start cargo")?;
    ensure!(
        built.status.success(),
        "{test} does not build: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    String::from_utf8(built.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == test)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo names no program of {test}"))
}

/// Without what debuggers need, which would fill the machine's memory.
fn stripped(lab: &Lab, program: &Path, name: &str) -> Result<PathBuf> {
    let to = lab.dir().join(name);
    let done = Command::new("strip")
        .arg("-o")
        .arg(&to)
        .arg(program)
        .status()
        .context("no strip: apt-get install binutils")?;
    ensure!(done.success(), "cannot strip {}", program.display());
    Ok(to)
}

/// What has become dearer for the verifier.
fn costs(lab: &Lab, vm: &Vm, text: &str) -> Result<Vec<String>> {
    let known: BTreeMap<String, BTreeMap<String, u64>> = serde_json::from_str(COSTS)?;
    let version = vm.run("uname -r")?;
    let known = known
        .iter()
        .find(|(series, _)| version.starts_with(&format!("{series}.")))
        .map(|(_, costs)| costs)
        .with_context(|| format!("no figures for Linux {version}"))?;
    let mut faults = Vec::new();
    let mut seen = 0;
    for line in text.lines() {
        let Some((_, cost)) = line.split_once("verifier: ") else {
            continue;
        };
        let (program, count) = cost.split_once(' ').context("no count")?;
        let count: u64 = count.trim().parse()?;
        let before = known.get(program).copied().unwrap_or(0);
        lab.say(format_args!(
            "{program}: {count} instructions verified, {before} when last written down"
        ));
        if count > before + before / 4 {
            faults.push(format!(
                "{program} costs the verifier {count} instructions, {before} before: if that is \
                 meant, write it into tests/verifier-costs.json"
            ));
        }
        seen += 1;
    }
    if seen != known.len() {
        faults.push(format!(
            "{seen} programs were verified, {} are known",
            known.len()
        ));
    }
    Ok(faults)
}

/// A daemon in the machine, and data both ways to the one here.
fn talk(lab: &Lab, host: &Host, vm: &Arc<Vm>, end: &Pseudowire, mode: &str) -> Result<()> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let mut files = String::new();
    let mut keys = String::new();
    for (key, cookie) in [
        ("receive_cookie_file", &end.receive_cookie),
        ("send_cookie_file", &end.send_cookie),
    ] {
        if !cookie.is_empty() {
            vm.write(&format!("/tmp/{key}"), &format!("{}\n", hex(cookie)))?;
            files.push_str(&format!(" /tmp/{key}"));
            keys.push_str(&format!("{key} = \"/tmp/{key}\"\n"));
        }
    }
    let addresses: Vec<String> = end.addresses.iter().map(|it| format!("\"{it}\"")).collect();
    vm.write(
        "/tmp/l2ha.toml",
        &format!(
            "[node]\nname = \"vm\"\nrun_dir = \"/tmp/l2ha\"\n\n\
             [underlay]\ninterface = \"{UNDERLAY}\"\naddresses = [\"{}\"]\nmode = \"{mode}\"\n\n\
             [[tunnels]]\nname = \"node\"\ninterface = \"{}\"\nremote = \"{}\"\n\
             local_port = {}\nremote_port = {}\nsession_id = {}\npeer_session_id = {}\n{keys}\
             addresses = [{}]\n",
            end.local,
            end.interface,
            end.remote,
            end.ports.0,
            end.ports.1,
            end.session_id,
            end.peer_session_id,
            addresses.join(", ")
        ),
    )?;
    vm.run(&format!(
        "chmod 600 /tmp/l2ha.toml{files}\n\
         l2ha run --config /tmp/l2ha.toml >/tmp/l2ha.log 2>&1 & echo $! >/tmp/l2ha.pid"
    ))?;
    let there = end.addresses[0].split('/').next().unwrap_or_default();
    let here = there.trim_end_matches('2').to_owned() + "1";
    let answered = wait_for("an answer over the tunnel", PATIENCE, || {
        let (status, _) = vm.try_run(&format!("ping -c 1 -W 1 {here}"), PATIENCE)?;
        Ok((status == 0).then_some(()))
    });
    if answered.is_err() {
        bail!("{}", vm.run("cat /tmp/l2ha.log; ip -br addr")?);
    }
    let status: Value =
        serde_json::from_str(&vm.run("l2ha status --json --config /tmp/l2ha.toml || true")?)?;
    ensure!(status["underlay"]["hook"] == mode, "{}", status["underlay"]);
    let data = Data::random(3_000_000)?;
    let times = data.exchange((&host.ns, here.parse()?), (vm, there.parse()?))?;
    lab.say(format_args!(
        "{mode}: {:.0} Mbit/s to the machine, {:.0} back",
        data.rate(times.to_vm),
        data.rate(times.to_host)
    ));
    vm.run_for(
        "kill $(cat /tmp/l2ha.pid); while kill -0 $(cat /tmp/l2ha.pid) 2>/dev/null; do sleep 0.2; done",
        PATIENCE,
    )?;
    Ok(())
}
