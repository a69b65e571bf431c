//! The kernel: old enough to be tried, and willing.

use std::path::Path;

use crate::{
    facts::{Facts, Needed},
    finding::{Finding, Severity},
};

/// The oldest kernel that l2ha is tried with.
const OLDEST: (u32, u32) = (6, 1);

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let system = &facts.system;
    let mut findings = Vec::new();
    if version(&system.release).is_some_and(|version| version < OLDEST) {
        findings.push(
            Finding::new(
                Severity::Warning,
                "kernel-old",
                format!(
                    "Linux {} is older than {}.{}, the oldest that l2ha is tried with: its verifier \
                     may refuse the programs",
                    system.release, OLDEST.0, OLDEST.1
                ),
            )
            .remedy(format!("boot Linux {}.{} or newer", OLDEST.0, OLDEST.1)),
        );
    }
    if let Some(why) = &system.cannot_load {
        findings.push(
            Finding::new(
                Severity::Error,
                "bpf-refused",
                format!("the kernel does not let this process load a program: {why}"),
            )
            .remedy(
                "run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; in a container, allow \
                 bpf(2); with lockdown=confidentiality, boot without it",
            ),
        );
    }
    if system.has_bpffs == Some(false) {
        let path = system.bpffs.display();
        let (severity, then) = if system.bpffs == Path::new(config::DEFAULT_BPFFS) {
            (Severity::Note, "the daemon mounts it when it starts")
        } else {
            (Severity::Error, "the daemon cannot start")
        };
        findings.push(
            Finding::new(
                severity,
                "bpffs-missing",
                format!(
                    "no bpffs at {path}, where programs and maps are pinned so that a restart of \
                     the daemon loses no packet: {then}"
                ),
            )
            .command(format!("mount -t bpf bpf {path}")),
        );
    }
    if system.jit == Some(0) {
        findings.push(
            Finding::new(
                Severity::Warning,
                "jit-off",
                "the kernel interprets BPF programs instead of translating them, which makes every \
                 packet several times as expensive",
            )
            .command("sysctl -w net.core.bpf_jit_enable=1"),
        );
    }
    for (what, why) in &system.lacks {
        let (id, text, module) = match what {
            Needed::Veth => ("veth-missing", "no veth pair can be made", "veth"),
            Needed::Clsact => (
                "clsact-missing",
                "no clsact can be added, on which tc programs hang",
                "sch_ingress",
            ),
        };
        findings.push(
            Finding::new(Severity::Error, id, format!("{text}: {why}"))
                .command(format!("modprobe {module}"))
                .remedy("if there is no such module, the kernel is built without it"),
        );
    }
    findings
}

/// The first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        assert_eq!(version("6.1.0-28-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("7.0"), Some((7, 0)));
        assert_eq!(version("unknown"), None);
    }
}
