//! The underlays `wire` and `offload`: pairs of namespaces, real sockets at both ends.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{
    Effort, go_on,
    host::{BusyTime, progress},
    pair::{Pair, Wire},
    rows::{Figure, Samples, Underlay, percentile},
    subject::Subject,
    tcp, udp,
};

/// Runs every case, the subjects taking turns within it.
pub(super) fn measure(
    underlay: Underlay,
    effort: Effort,
    binary: &Path,
    samples: &mut Samples,
) -> Result<()> {
    let offload = underlay == Underlay::Offload;
    let wire = Wire {
        offload,
        ..Wire::default()
    };
    let mut subjects = vec![Subject::Plain, Subject::Vxlan, Subject::L2ha];
    if !offload {
        subjects.push(Subject::L2haTc);
    }
    subjects.extend([Subject::L2haUdp6, Subject::L2haIp]);
    let mut pairs = Vec::new();
    for subject in subjects {
        go_on()?;
        progress(format_args!("{underlay}: setting up {subject}"));
        let pair = Pair::new(subject, wire, binary)?;
        tcp::serve(&pair.hosts[1].ns)?;
        pairs.push(pair);
    }
    for run in 0..effort.runs {
        // Who comes first changes too.
        pairs.rotate_left(1);
        for (case, streams, reverse) in tcp::CASES {
            if streams > 1 && !effort.all_cases {
                continue;
            }
            for pair in &pairs {
                go_on()?;
                progress(format_args!(
                    "{underlay}: run {} of {}, {case}, {}",
                    run + 1,
                    effort.runs,
                    pair.subject
                ));
                let name = pair.subject.to_string();
                let busy = BusyTime::now()?;
                let transfer = tcp::transfer(pair, streams, reverse, effort.tcp)
                    .with_context(|| format!("{case} over {name}"))?;
                let cpu = busy.seconds()? / transfer.gigabytes;
                samples.add(
                    underlay,
                    &name,
                    case,
                    Figure::Throughput,
                    transfer.gbit_per_second,
                );
                samples.add(underlay, &name, case, Figure::CpuPerGigabyte, cpu);
            }
        }
        for pair in &pairs {
            go_on()?;
            let name = pair.subject.to_string();
            progress(format_args!(
                "{underlay}: run {} of {}, small, {name}",
                run + 1,
                effort.runs
            ));
            let busy = BusyTime::now()?;
            let (count, seconds) =
                udp::blast(pair, effort.udp).with_context(|| format!("small over {name}"))?;
            let cpu = busy.seconds()? * 1e9 / count as f64;
            samples.add(
                underlay,
                &name,
                "small",
                Figure::Rate,
                count as f64 / seconds / 1e6,
            );
            samples.add(underlay, &name, "small", Figure::CpuPerPacket, cpu);
        }
        for (case, round_trips) in udp::ROUND_TRIPS {
            for pair in &pairs {
                go_on()?;
                let name = pair.subject.to_string();
                progress(format_args!(
                    "{underlay}: run {} of {}, {case}, {name}",
                    run + 1,
                    effort.runs
                ));
                let times =
                    round_trips(pair, effort.udp).with_context(|| format!("{case} over {name}"))?;
                for (figure, rank) in [(Figure::LatencyP50, 50.0), (Figure::LatencyP99, 99.0)] {
                    samples.add(underlay, &name, case, figure, percentile(&times, rank));
                }
            }
        }
    }
    Ok(())
}
