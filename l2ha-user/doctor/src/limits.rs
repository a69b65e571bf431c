//! What the limits of a process leave to the daemon.

use crate::{
    facts::Facts,
    finding::{Finding, Severity},
};

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let needed = facts.open_files;
    let Some(most) = facts.most_open_files.filter(|most| *most < needed) else {
        return Vec::new();
    };
    let text = format!(
        "{needed} files will be open, and a process here may have {most}: some tunnels would be without OSPF or \
         BFD"
    );
    let remedy = format!(
        "write `LimitNOFILE={needed}` or more below [Service] of the daemon's unit, or raise `ulimit -Hn` where it \
         is started"
    );
    vec![Finding::new(Severity::Warning, "open-files", text).remedy(remedy)]
}
