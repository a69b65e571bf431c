//! One virtual machine, booted once, with everything that has to hold on the oldest kernel: Debian's
//! 6.1, or the one that `L2HA_VM_KERNEL` names. Each part has hosts, daemons and evidence of its own,
//! and the machine is as it was before the next.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use l2ha_lab::{
    Cloud, CloudOptions, Lab, Resident,
    vm::{Extras, Vm, stripped},
};

use crate::{boot, capture, doctor, frr, joined, l2tp, programs, traffic};

/// A part of the test: in a lab of its own, on a cloud and with a machine that all have in common.
type Part = fn(&Lab, &Arc<Cloud>, &Arc<Vm>) -> Result<()>;

/// What is played, in this order. When the first fails, the others say little about l2ha.
const PARTS: [(&str, Part); 8] = [
    ("obeys", boot::obeys_and_is_reachable),
    ("programs", programs::verified_and_attached),
    ("traffic", traffic::both_modes),
    ("capture", capture::packets_are_seen),
    ("doctor", doctor::what_a_nic_can_be_set_up_for),
    ("joined", joined::lost_until_they_are_not_joined),
    ("frr", frr::over_the_kernels_own_pseudowire),
    ("l2tp", l2tp::chosen_forms),
];

/// Names the parts to be played, with commas between: to work on one of them.
const CHOICE: &str = "L2HA_VM_PARTS";

/// What in the kernel's log is worth a look: it need not be a fault of l2ha.
const COMPLAINTS: &str = "Oops|BUG:|WARNING:|rcu.*(stall|starved)|soft lockup|blocked for more";

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn one_machine_plays_every_part() -> Result<()> {
    Lab::run("vm", |lab| {
        let options = CloudOptions {
            carries_l2tp: true,
            ..CloudOptions::default()
        };
        let (cloud, _) = lab.cloud(options, &[])?;
        doctor::taps(&cloud)?;
        let mut programs = programs::tools();
        programs.push(stripped(lab, &lab.binary()?, "l2ha")?);
        programs.push(programs::stripped_test(lab, programs::ATTACH)?);
        let extras = Extras {
            programs,
            arguments: doctor::nics(),
            ..Extras::default()
        };
        let parts = parts()?;
        let mut report = Report::default();
        let start = Instant::now();
        let vm = Vm::boot_with(lab, &cloud, "vm", 200, &extras)?;
        report.line("boot", start.elapsed(), vm.cpu_time()?, "");
        let mut complaints = BTreeSet::new();
        for (name, part) in &parts {
            if let Err(error) = vm.run("true") {
                let failure = format!("{name} and what follows were not played: {error:#}");
                report.failures.push(failure);
                break;
            }
            let (start, computed) = (Instant::now(), vm.cpu_time()?);
            let result = play(name, *part, &cloud, &vm);
            let computed = vm.cpu_time().unwrap_or_default().saturating_sub(computed);
            let verdict = if result.is_ok() { "" } else { "FAILED" };
            report.line(name, start.elapsed(), computed, verdict);
            lab.say(report.lines.last().map_or("", String::as_str));
            let text = vm.run(&format!("dmesg | grep -E '{COMPLAINTS}' || true"));
            for line in text.as_deref().unwrap_or_default().lines() {
                if complaints.insert(line.to_owned()) {
                    lab.say(format_args!("the machine's kernel says: {line}"));
                }
            }
            if let Err(error) = result {
                lab.say(format_args!("{name} FAILED: {error:#}"));
                report.failures.push(format!("{name}: {error:#}"));
            }
        }
        report.end(lab)
    })
}

/// Those of [`PARTS`] that the environment asks for, else all.
fn parts() -> Result<Vec<(&'static str, Part)>> {
    let Ok(choice) = std::env::var(CHOICE) else {
        return Ok(PARTS.into());
    };
    choice
        .split(',')
        .map(|wanted| {
            let names = PARTS.map(|(name, _)| name).join(", ");
            PARTS
                .into_iter()
                .find(|(name, _)| *name == wanted)
                .with_context(|| format!("{CHOICE}: {wanted} is none of {names}"))
        })
        .collect()
}

/// Plays one part, then makes the machine what it was.
fn play(name: &str, part: Part, cloud: &Arc<Cloud>, vm: &Arc<Vm>) -> Result<()> {
    let played = catch_unwind(AssertUnwindSafe(|| {
        Lab::run(&format!("vm-{name}"), |lab| {
            lab.adopt(Guest(Arc::clone(vm)));
            part(lab, cloud, vm)
        })
    }))
    .unwrap_or_else(|_| Err(anyhow!("it panicked: see above")));
    played.and(vm.clean())
}

/// The machine in the lab of a part: it says what there is to see when that fails, and lives on.
#[derive(Debug)]
struct Guest(Arc<Vm>);

impl Resident for Guest {
    fn evidence(&self, into: &Path) -> Result<()> {
        self.0.evidence(into)
    }

    fn end(&self) {
        // It belongs to the whole test.
    }
}

/// A line for each part, and what failed.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    fn line(&mut self, name: &str, took: Duration, computed: Duration, verdict: &str) {
        self.lines.push(format!(
            "{name:<10} {:>6.1} s, the machine computed {:>6.1} s  {verdict}",
            took.as_secs_f64(),
            computed.as_secs_f64()
        ));
    }

    /// Tells all of it.
    fn end(self, lab: &Lab) -> Result<()> {
        for line in &self.lines {
            lab.say(line.trim_end());
        }
        let (failed, parts) = (self.failures.len(), self.lines.len() - 1);
        if failed > 0 {
            bail!(
                "{failed} of {parts} parts failed:\n{}",
                self.failures.join("\n")
            );
        }
        Ok(())
    }
}
