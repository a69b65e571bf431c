//! Other people's programs on the underlay: named, and left alone.

use config::AttachMode;
use dataplane::inspect::{Held, Place, Program, TcHook, XdpMode};

use crate::{
    facts::Facts,
    finding::{Finding, Severity},
};

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(interface) = &facts.interface else {
        return Vec::new();
    };
    let foreign = interface.programs.list.iter().filter(|it| !it.ours);
    foreign.map(|program| finding(facts, program)).collect()
}

fn finding(facts: &Facts, program: &Program) -> Finding {
    let name = &facts.name;
    let who = who(program);
    let (severity, id, text) = match program.place {
        Place::Xdp(XdpMode::Generic) => (
            Severity::Warning,
            "generic-xdp",
            format!(
                "{name} has a generic XDP program, {who}: it sees every packet before l2ha, copies \
                 many of them, and no GRO is done on this interface as long as it is there"
            ),
        ),
        Place::Xdp(XdpMode::Native | XdpMode::Offload) => {
            let (severity, then) = match facts.mode {
                AttachMode::Xdp => (Severity::Error, "l2ha cannot start with mode = \"xdp\""),
                AttachMode::Auto => (Severity::Warning, "l2ha leaves it alone and uses tc"),
                AttachMode::Tc => (Severity::Warning, "l2ha sees only what it passes on"),
            };
            let text = format!("{name} has somebody else's XDP program, {who}: {then}");
            (severity, "foreign-xdp", text)
        }
        Place::Tc {
            hook,
            priority,
            handle,
        } => (
            Severity::Warning,
            "foreign-tc",
            format!(
                "{name} has somebody else's tc program at {}, {who}, pref {priority} handle \
                 {handle:#x}: {}",
                hook_name(hook),
                what_it_sees(hook)
            ),
        ),
        Place::Tcx(hook) => (
            Severity::Warning,
            "foreign-tcx",
            format!(
                "{name} has somebody else's tcx program at {}, {who}: {}, and it is asked before \
                 every tc filter",
                hook_name(hook),
                what_it_sees(hook)
            ),
        ),
    };
    let finding = Finding::new(severity, id, text);
    match detach(name, program) {
        Some(command) => finding.command(command),
        None => finding.remedy(
            "which of the links it is, `bpftool link show` tells by the processes that hold them; \
             `bpftool link detach id N` takes it off",
        ),
    }
}

/// The program, as a person would look for it.
fn who(program: &Program) -> String {
    let name = match program.name.as_str() {
        "" => "without a name",
        name => name,
    };
    let held = match &program.held {
        Held::Netlink => "by netlink".to_owned(),
        Held::Link(link) => format!("by bpf_link {link}"),
        Held::OneOf(links) => {
            let links: Vec<String> = links.iter().map(u32::to_string).collect();
            format!("by one of the bpf_links {}", links.join(", "))
        }
    };
    format!(
        "{name} (id {}, tag {}, attached {held})",
        program.id, program.tag
    )
}

fn hook_name(hook: TcHook) -> &'static str {
    match hook {
        TcHook::Ingress => "ingress",
        TcHook::Egress => "egress",
    }
}

fn what_it_sees(hook: TcHook) -> &'static str {
    match hook {
        TcHook::Ingress => "it may take the tunnels' packets away",
        TcHook::Egress => "it sees and may change every packet that a tunnel sends",
    }
}

/// What takes a program off its interface, if that is certain: a link of another network namespace
/// must not be touched.
fn detach(name: &str, program: &Program) -> Option<String> {
    match program.held {
        Held::Netlink => {}
        Held::Link(link) => return Some(format!("bpftool link detach id {link}")),
        Held::OneOf(_) => return None,
    }
    Some(match program.place {
        Place::Xdp(mode) => {
            let mode = match mode {
                XdpMode::Native => "xdpdrv",
                XdpMode::Generic => "xdpgeneric",
                XdpMode::Offload => "xdpoffload",
            };
            format!("ip link set dev {name} {mode} off")
        }
        Place::Tc {
            hook,
            priority,
            handle,
        } => format!(
            "tc filter del dev {name} {} pref {priority} handle {handle:#x} bpf",
            hook_name(hook)
        ),
        Place::Tcx(hook) => format!("bpftool net detach tcx_{} dev {name}", hook_name(hook)),
    })
}
