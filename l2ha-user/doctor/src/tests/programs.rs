//! Other people's programs.

use config::AttachMode;
use dataplane::inspect::{Held, Place, Program, TcHook, XdpMode};

use super::{healthy, ids, interface, only};
use crate::{facts::Facts, finding::Severity};

fn with(place: Place, held: Held, ours: bool) -> Facts {
    let mut facts = healthy("ena");
    interface(&mut facts).programs.list.push(Program {
        place,
        id: 42,
        name: "cil_entry".to_owned(),
        tag: "3b185187f1855c4c".to_owned(),
        held,
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
    for (place, held, id, command) in [
        (
            Place::Xdp(XdpMode::Native),
            Held::Netlink,
            "foreign-xdp",
            "ip link set dev eth0 xdpdrv off",
        ),
        (
            Place::Xdp(XdpMode::Offload),
            Held::Netlink,
            "foreign-xdp",
            "ip link set dev eth0 xdpoffload off",
        ),
        (
            Place::Xdp(XdpMode::Generic),
            Held::Netlink,
            "generic-xdp",
            "ip link set dev eth0 xdpgeneric off",
        ),
        (
            Place::Xdp(XdpMode::Native),
            Held::Link(9),
            "foreign-xdp",
            "bpftool link detach id 9",
        ),
        (
            tc(TcHook::Ingress),
            Held::Netlink,
            "foreign-tc",
            "tc filter del dev eth0 ingress pref 1 handle 0x2a bpf",
        ),
        (
            tc(TcHook::Egress),
            Held::Netlink,
            "foreign-tc",
            "tc filter del dev eth0 egress pref 1 handle 0x2a bpf",
        ),
        (
            Place::Tcx(TcHook::Ingress),
            Held::Link(4),
            "foreign-tcx",
            "bpftool link detach id 4",
        ),
        (
            Place::Tcx(TcHook::Egress),
            Held::Netlink,
            "foreign-tcx",
            "bpftool net detach tcx_egress dev eth0",
        ),
    ] {
        let finding = only(&with(place, held.clone(), false));
        assert_eq!(
            (finding.id, finding.command.as_deref()),
            (id, Some(command))
        );
        assert_eq!(finding.severity, Severity::Warning);
        let by = match held {
            Held::Link(link) => format!("attached by bpf_link {link}"),
            _ => "attached by netlink".to_owned(),
        };
        for part in ["cil_entry", "id 42", "tag 3b185187f1855c4c", &by] {
            assert!(finding.text.contains(part), "{part}: {}", finding.text);
        }
        assert_eq!(ids(&with(place, held, true)), [""; 0], "ours");
    }
}

#[test]
fn where_native_xdp_must_be_had_another_program_is_an_error() {
    let mut facts = with(Place::Xdp(XdpMode::Native), Held::Netlink, false);
    facts.mode = AttachMode::Xdp;
    assert_eq!(only(&facts).severity, Severity::Error);
}

/// The kernel does not say in which namespace a link is: one too many must not be named.
#[test]
fn of_several_links_none_is_taken_off() {
    let place = Place::Xdp(XdpMode::Native);
    let finding = only(&with(place, Held::OneOf(vec![3, 5]), false));
    assert_eq!(finding.command, None);
    assert!(finding.text.contains("bpf_links 3, 5"), "{}", finding.text);
    assert!(finding.remedy.is_some());
}
