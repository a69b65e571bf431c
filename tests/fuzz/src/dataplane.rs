//! The kernel programs themselves, run on packets one by one: whatever comes has a verdict and, if it is
//! refused, one reason; and what is encapsulated is decapsulated to what it was. Needs root.
#![no_main]

use std::{cell::RefCell, sync::Once};

use arbitrary::Arbitrary;
use dataplane::trial::{Program, Verdict};
use libfuzzer_sys::fuzz_target;

#[path = "../../../l2ha-user/dataplane/tests/kit/mod.rs"]
mod kit;

use kit::bench::{Bench, DECAPS, frame, runs_in_tc};

#[derive(Arbitrary, Debug)]
struct Input {
    form: u8,
    ethertype: u16,
    frame: Vec<u8>,
    padding: u8,
    changes: Vec<(u16, u8)>,
    length: Option<u16>,
    /// Whether the frame goes out, rather than a packet comes in.
    out: bool,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new().expect("a host in a namespace"));
}
static SAID: Once = Once::new();

fuzz_target!(|input: Input| {
    SAID.call_once(|| eprintln!("the kernel programs are loaded for the first input"));
    BENCH.with_borrow_mut(|bench| run(bench, &input));
});

fn run(bench: &mut Bench, input: &Input) {
    let form = bench.forms[usize::from(input.form) % bench.forms.len()].clone();
    let mut inner = frame(input.ethertype, 14);
    inner.extend(input.frame.iter().take(1_300));
    if input.out {
        send(bench, &form, &inner);
        return;
    }
    let mut outer = form.received(&inner);
    outer.padding = usize::from(input.padding);
    let mut packet = outer.bytes();
    for (at, value) in input.changes.iter().take(8) {
        let at = usize::from(*at) % packet.len();
        packet[at] = *value;
    }
    if let Some(length) = input.length {
        packet.truncate(usize::from(length).max(14));
    }
    if !runs_in_tc(&packet) {
        return;
    }
    for program in DECAPS {
        let (outcome, counted, delivered) = bench.run_counted(program, &packet).expect("a run");
        match outcome.verdict {
            Verdict::Drop => assert!(counted.is_some() && !delivered, "{counted:?}"),
            Verdict::Pass => assert!(!delivered, "passed on and counted"),
            Verdict::Redirect => assert!(delivered && counted.is_none(), "{counted:?}"),
            other => panic!("{program:?}: {other:?}"),
        }
        assert!(outcome.packet.len() <= packet.len() + 8);
    }
}

/// Out through both ends of the virtual interface.
fn send(bench: &mut Bench, form: &kit::bench::Form, inner: &[u8]) {
    bench.plane.set_session(&form.session).expect("a session");
    if !runs_in_tc(inner) {
        return;
    }
    let mut packet = inner.to_vec();
    for program in [Program::Encap, Program::Hidden] {
        let (outcome, counted, sent) = bench.run_counted(program, &packet).expect("a run");
        packet = outcome.packet;
        match outcome.verdict {
            Verdict::Redirect => {
                assert!(counted.is_none() && sent, "{counted:?}");
                let wanted = form.sent(inner).bytes();
                assert_eq!(packet[12..], wanted[12..], "{form:?}");
                return;
            }
            Verdict::Pass => assert!(counted.is_none() && !sent, "{counted:?}"),
            Verdict::Drop => {
                assert!(counted.is_some() && !sent);
                return;
            }
            Verdict::Other(number) => panic!("{program:?}: {number}"),
        }
    }
    panic!("it goes on from the hidden end");
}
