//! What is not as l2ha wants it on this host, each with the command that mends it: `l2ha doctor`,
//! and the daemon at its start.
//!
//! [`Facts`] are collected once, by [`Facts::collect`]; every check is a function of them alone.

mod collect;
mod daemons;
mod facts;
mod finding;
mod firewall;
mod forwarding;
mod interface;
mod ipv4;
mod kernel;
mod limits;
mod offloads;
mod programs;
mod subject;
#[cfg(test)]
mod tests;
mod tunnels;
mod xdp;

pub use self::{
    facts::{Carried, Chain, DaemonRoutes, Facts, Interface, Ipv4, Peer, Routing, System, Tunnel},
    finding::{Finding, Severity},
    subject::Subject,
};

/// All checks, the worst findings first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let groups = [
        kernel::check,
        interface::check,
        xdp::check,
        offloads::check,
        programs::check,
        tunnels::check,
        ipv4::check,
        forwarding::check,
        daemons::check,
        limits::check,
        firewall::check,
    ];
    let mut findings: Vec<Finding> = groups.iter().flat_map(|check| check(facts)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// What other routing daemons on this host and its limits have to do with a configuration.
pub fn briefly(config: &config::Config) -> Vec<Finding> {
    let subject = Subject::of(config);
    let (routing, _) = collect::daemons(&subject);
    let facts = Facts {
        routing,
        open_files: subject.open_files,
        most_open_files: linux::most_open_files().ok(),
        ..Facts::default()
    };
    let mut findings = daemons::check(&facts);
    findings.extend(limits::check(&facts));
    findings
}

/// Says the findings in the log.
pub fn log(findings: &[Finding]) {
    for finding in findings {
        let Finding {
            id,
            text,
            command,
            remedy,
            ..
        } = finding;
        let mend = command.as_deref().or(remedy.as_deref()).unwrap_or_default();
        match finding.severity {
            Severity::Note => tracing::info!(id, mend, "doctor: {text}"),
            Severity::Warning => tracing::warn!(id, mend, "doctor: {text}"),
            Severity::Error => tracing::error!(id, mend, "doctor: {text}"),
        }
    }
}
