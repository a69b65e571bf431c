//! Our programs in another kernel: its verifier, its hooks, its virtio_net and its veth. The data
//! plane's own tests run in the machine.

use std::{collections::BTreeMap, path::PathBuf, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use l2ha_lab::{
    Cloud, CloudOptions, Lab,
    vm::{Extras, Vm, stripped},
};
use serde_json::Value;

/// The test in which the verifier sees every program, and every hook gets one.
pub(crate) const ATTACH: &str = "dataplane_attach";
/// Of these, what differs from kernel to kernel: the verifier, the hooks, and how programs are told from another's.
const CHOSEN: [&str; 4] = [
    "the_verifier_is_far_from_its_limit",
    "the_other_hook_is_left_when_the_new_one_works",
    "what_was_taken_away_is_noticed_and_put_back",
    "unload_leaves_nothing",
];
/// What needs nothing but a kernel and iproute2; in an emulated machine they take minutes each.
const ALL: [&str; 6] = [
    ATTACH,
    "dataplane_encap",
    "dataplane_decap",
    "dataplane_rows",
    "dataplane_net",
    "dataplane_corpus",
];
/// For one of them, in a machine that is emulated.
const TEST: Duration = Duration::from_secs(900);
/// Each kernel's verifier, each program: what the figures are now. A rise by a quarter is a finding;
/// one that is meant is written down here.
const COSTS: &str = include_str!("../../verifier-costs.json");

/// What the data plane's tests call.
pub(crate) fn tools() -> Vec<PathBuf> {
    ["/usr/bin/ping", "/usr/sbin/tc", "/usr/sbin/bpftool"]
        .map(PathBuf::from)
        .into()
}

/// The verifier takes every program at its known price, and each hook takes its own.
pub(crate) fn verified_and_attached(lab: &Lab, _: &Arc<Cloud>, vm: &Arc<Vm>) -> Result<()> {
    vm.run("mount -t bpf bpf /sys/fs/bpf")?;
    let text = run(lab, vm, ATTACH, &CHOSEN)?;
    let dearer = costs(lab, vm, &text)?;
    ensure!(dearer.is_empty(), "{}", dearer.join("\n"));
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test --deep"]
fn deep_the_data_planes_tests_pass_in_its_kernel() -> Result<()> {
    Lab::run("vm-programs-deep", |lab| {
        let (cloud, _) = lab.cloud(CloudOptions::default(), &[])?;
        let mut programs = tools();
        programs.push(stripped(lab, &lab.binary()?, "l2ha")?);
        for test in ALL {
            programs.push(stripped_test(lab, test)?);
        }
        let extras = Extras {
            programs,
            ..Extras::default()
        };
        let vm = Vm::boot_with(lab, &cloud, "vm", 200, &extras)?;
        vm.run("mount -t bpf bpf /sys/fs/bpf")?;
        let mut faults = Vec::new();
        for test in ALL {
            if let Err(error) = run(lab, &vm, test, &[]) {
                faults.push(format!("{error:#}"));
            }
        }
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    })
}

/// Runs one of the data plane's tests in the machine, whole or those of its functions that are named, and returns what
/// it printed.
fn run(lab: &Lab, vm: &Vm, test: &str, functions: &[&str]) -> Result<String> {
    let names = functions.join(" ");
    let words = format!("{test} --ignored --nocapture --test-threads 1 --exact {names}");
    let (status, text) = vm.try_run(&words, TEST)?;
    let mut lines = text.lines().rev();
    let last = lines.find(|line| line.starts_with("test result"));
    lab.say(format_args!("{test}: {}", last.unwrap_or("no result")));
    ensure!(status == 0, "{test}: status {status}\n{text}");
    let played = format!("running {} tests", functions.len());
    ensure!(
        functions.is_empty() || text.contains(&played),
        "{test} has not all of {functions:?}: {text}"
    );
    Ok(text)
}

/// One of the data plane's tests as cargo builds it, for a machine. With the features of the whole
/// workspace, as the gate has built it.
pub(crate) fn stripped_test(lab: &Lab, test: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["test", "--no-run", "--quiet", "--message-format", "json"])
        .args(["--workspace", "--test", test])
        .output()
        .context("cannot start cargo")?;
    ensure!(
        built.status.success(),
        "{test} does not build: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    let program = String::from_utf8(built.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == test)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo names no program of {test}"))?;
    stripped(lab, &program, test)
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
