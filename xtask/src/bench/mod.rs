//! `cargo xtask bench`: l2ha side by side with the plain underlay, VXLAN and the kernel's l2tp.

mod driver;
mod frame;
mod host;
mod netns;
mod page;
mod pair;
mod plot;
mod record;
mod report;
mod rows;
mod streams;
mod subject;
mod tcp;
mod udp;
mod virtio;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use self::{
    record::Record,
    rows::{Samples, Underlay},
};
use crate::{
    cmd::{self, cargo, say, target_dir},
    packages, setup,
};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(
    after_help = "Subjects take turns, so that what else the machine does meets all of them; a row\n\
    is the median of its runs with the least and the most. Without --quick the figures\n\
    go into docs/benchmarks.md as well, in the place of those measured before.\n\n\
    Examples:\n  cargo xtask bench --quick\n  cargo xtask bench --only driver --json driver.json\n  \
    cargo xtask bench"
)]
pub(crate) struct Options {
    /// A look in under 3 minutes: wire, offload and driver, few and short runs, nothing written
    #[arg(long)]
    quick: bool,
    /// Only this underlay
    #[arg(long, value_name = "UNDERLAY")]
    only: Option<Underlay>,
    /// Write the rows as a JSON array
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Those without virtual machines.
const IN_NAMESPACES: [Underlay; 3] = [Underlay::Wire, Underlay::Offload, Underlay::Driver];

/// How often and how long is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    runs: u32,
    /// One iperf3 run, in whole seconds.
    tcp: Duration,
    /// One run of small packets or of request and response.
    udp: Duration,
    /// 4 and 16 streams too.
    all_cases: bool,
}

const QUICK: Effort = Effort {
    runs: 3,
    tcp: Duration::from_secs(1),
    udp: Duration::from_millis(300),
    all_cases: false,
};
const FULL: Effort = Effort {
    runs: 5,
    tcp: Duration::from_secs(1),
    udp: Duration::from_millis(500),
    all_cases: true,
};
/// Builds l2ha and measures.
///
/// # Errors
///
/// When it does not build, needs something this machine has not, or a subject does not work.
pub(crate) fn bench(options: &Options) -> Result<()> {
    if !packages::is_root() {
        bail!("the bench makes network namespaces and needs root: sudo cargo xtask bench");
    }
    setup::run_if_needed()?;
    say("building l2ha");
    cmd::run(cargo().args(["build", "--release", "--package", "l2ha-user"]))?;
    packages::install()?;
    l2ha_lab::catch_signals()?;
    let effort = if options.quick { QUICK } else { FULL };
    let underlays: Vec<Underlay> = match options.only {
        Some(only) => vec![only],
        None if options.quick => IN_NAMESPACES.to_vec(),
        None => Underlay::ALL.to_vec(),
    };
    let machine = host::describe(effort)?;
    say(&machine);
    let binary = target_dir().join("release/l2ha");
    let mut samples = Samples::default();
    for underlay in &underlays {
        measure(*underlay, effort, &binary, &mut samples)
            .with_context(|| format!("underlay {underlay}"))?;
    }
    let rows = samples.rows();
    print!("{}", report::text(&rows));
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if !options.quick {
        let docs = cmd::root().join("docs");
        let mut record = Record::read(&docs)?;
        record.replace(&underlays, rows, &machine);
        record.write(&docs)?;
        page::write(&record, &docs)?;
        say("wrote docs/benchmarks.md");
    }
    Ok(())
}

fn measure(underlay: Underlay, effort: Effort, binary: &Path, samples: &mut Samples) -> Result<()> {
    match underlay {
        Underlay::Wire | Underlay::Offload => netns::measure(underlay, effort, binary, samples),
        Underlay::Driver => {
            driver::measure(effort, binary, samples)?;
            streams::measure(effort, binary, samples)
        }
        Underlay::Virtio => virtio::measure(effort, binary, samples),
    }
}

/// Ends the bench in order after a Ctrl-C: everything made is dropped on the way out.
fn go_on() -> Result<()> {
    if l2ha_lab::interrupted() {
        bail!("interrupted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the bench works, not how fast l2ha is.
    fn play(underlays: &[Underlay]) -> Result<()> {
        let effort = Effort {
            runs: 1,
            tcp: Duration::from_secs(1),
            udp: Duration::from_millis(20),
            all_cases: false,
        };
        let binary = target_dir().join("debug/l2ha");
        let mut samples = Samples::default();
        for underlay in underlays {
            measure(*underlay, effort, &binary, &mut samples)
                .with_context(|| format!("underlay {underlay}"))?;
        }
        println!("{}", report::text(&samples.rows()));
        Ok(())
    }

    #[test]
    #[ignore = "needs root: namespaces"]
    fn every_row_of_the_wire_is_measured() -> Result<()> {
        play(&[Underlay::Wire])
    }

    #[test]
    #[ignore = "needs root: namespaces; played by cargo xtask test --deep"]
    fn deep_every_row_is_measured() -> Result<()> {
        play(&IN_NAMESPACES)
    }
}
