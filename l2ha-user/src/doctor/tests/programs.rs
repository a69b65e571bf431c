//! Other people's programs.

use super::{healthy, ids, interface, only};
use crate::{
    dataplane::inspect::{Place, Program, TcHook, XdpMode},
    doctor::{Facts, Mode, Severity},
};

fn with(place: Place, link: Option<u32>, ours: bool) -> Facts {
    let mut facts = healthy("ena");
    interface(&mut facts).programs.list.push(Program {
        place,
        id: 42,
        name: "cil_entry".to_owned(),
        tag: "3b185187f1855c4c".to_owned(),
        link,
        ours,
    });
    facts
}

#[test]
fn each_place_has_its_own_command() {
    let tc = |hook| Place::Tc {
        hook,
        priority: 1,
        handle: 0x2a,
    };
    for (place, link, id, command) in [
        (
            Place::Xdp(XdpMode::Native),
            None,
            "foreign-xdp",
            "ip link set dev eth0 xdpdrv off",
        ),
        (
            Place::Xdp(XdpMode::Offload),
            None,
            "foreign-xdp",
            "ip link set dev eth0 xdpoffload off",
        ),
        (
            Place::Xdp(XdpMode::Generic),
            None,
            "generic-xdp",
            "ip link set dev eth0 xdpgeneric off",
        ),
        (
            Place::Xdp(XdpMode::Native),
            Some(9),
            "foreign-xdp",
            "bpftool link detach id 9",
        ),
        (
            tc(TcHook::Ingress),
            None,
            "foreign-tc",
            "tc filter del dev eth0 ingress pref 1 handle 0x2a bpf",
        ),
        (
            tc(TcHook::Egress),
            None,
            "foreign-tc",
            "tc filter del dev eth0 egress pref 1 handle 0x2a bpf",
        ),
        (
            Place::Tcx(TcHook::Ingress),
            Some(4),
            "foreign-tcx",
            "bpftool link detach id 4",
        ),
        (
            Place::Tcx(TcHook::Egress),
            None,
            "foreign-tcx",
            "bpftool net detach tcx_egress dev eth0",
        ),
    ] {
        let finding = only(&with(place, link, false));
        assert_eq!(
            (finding.id, finding.command.as_deref()),
            (id, Some(command))
        );
        assert_eq!(finding.severity, Severity::Warning);
        let held = match link {
            Some(link) => format!("attached by bpf_link {link}"),
            None => "attached by netlink".to_owned(),
        };
        for part in ["cil_entry", "id 42", "tag 3b185187f1855c4c", &held] {
            assert!(finding.text.contains(part), "{part}: {}", finding.text);
        }
        assert_eq!(ids(&with(place, link, true)), [""; 0], "ours");
    }
}

#[test]
fn where_native_xdp_must_be_had_another_program_is_an_error() {
    let mut facts = with(Place::Xdp(XdpMode::Native), None, false);
    facts.mode = Mode::Xdp;
    assert_eq!(only(&facts).severity, Severity::Error);
}
