//! Running a loaded program on one packet without attaching it (`BPF_PROG_TEST_RUN`).

use anyhow::{Context as _, Result};
use aya::{TestRun as _, TestRunOptions};

use crate::{
    object::{DECAP, ENCAP, HIDDEN},
    plane::DataPlane,
};

/// `XDP_DROP`, `XDP_PASS`, `XDP_REDIRECT` (linux/bpf.h).
const XDP: [u32; 3] = [1, 2, 4];
/// `TC_ACT_SHOT`, `TC_ACT_UNSPEC`, `TC_ACT_REDIRECT` (linux/pkt_cls.h).
const TC: [u32; 3] = [2, u32::MAX, 7];
const TC_OK: u32 = 0;

/// The kernel's longest context, `struct __sk_buff`, in bytes; and where in it a field lies.
const SKB_LENGTH: usize = 192;
const SKB_IFINDEX: usize = 40;
const SKB_GSO_SEGS: usize = 164;
const SKB_GSO_SIZE: usize = 176;

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Decapsulation, native XDP on the underlay.
    Xdp,
    /// Decapsulation, tc ingress of the underlay.
    Decap,
    /// Encapsulation, tc egress of the visible end.
    Encap,
    /// Sending on, tc ingress of the hidden end.
    Hidden,
}

/// What a program said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet is dropped.
    Drop,
    /// The packet goes on as if the program were not there.
    Pass,
    /// The packet is sent to another interface.
    Redirect,
    /// Anything else, as the kernel's number.
    Other(u32),
}

/// What a program did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it said.
    pub verdict: Verdict,
    /// The packet afterwards.
    pub packet: Vec<u8>,
}

/// The packet and where it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trial<'a> {
    /// The frame, from its Ethernet header on; at least 14 bytes.
    pub packet: &'a [u8],
    /// Interface that a tc program sees itself attached to; 0 for the loopback.
    pub ifindex: u32,
    /// Segment size and count, if a tc program is to see a super-packet.
    pub gso: Option<(u32, u32)>,
}

impl DataPlane {
    /// Runs a program on a packet. Nothing is sent anywhere; the counters count.
    ///
    /// # Errors
    ///
    /// When the kernel cannot run it, as with packets shorter than an Ethernet header.
    pub fn try_program(&mut self, program: Program, trial: Trial<'_>) -> Result<Outcome> {
        let mut packet = vec![0; trial.packet.len() + 512];
        let mut context = [0; SKB_LENGTH];
        let mut put = |at: usize, value: u32| {
            context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        };
        put(SKB_IFINDEX, trial.ifindex);
        if let Some((size, segments)) = trial.gso {
            put(SKB_GSO_SIZE, size);
            put(SKB_GSO_SEGS, segments);
        }
        let mut options = TestRunOptions {
            data_in: Some(trial.packet),
            data_out: Some(&mut packet),
            ..TestRunOptions::new()
        };
        let name = match program {
            Program::Xdp => None,
            Program::Decap => Some(DECAP),
            Program::Encap => Some(ENCAP),
            Program::Hidden => Some(HIDDEN),
        };
        let result = match name {
            None => self.object.xdp()?.test_run(options),
            Some(name) => {
                options.ctx_in = Some(&context);
                self.object.classifier(name)?.test_run(options)
            }
        };
        let result = result
            .with_context(|| format!("cannot run {program:?} on {} bytes", trial.packet.len()))?;
        packet.truncate(result.data_size_out as usize);
        let [drop, pass, redirect] = if name.is_none() { XDP } else { TC };
        let verdict = match result.return_value {
            code if code == drop => Verdict::Drop,
            code if code == pass => Verdict::Pass,
            TC_OK if name.is_some() => Verdict::Pass,
            code if code == redirect => Verdict::Redirect,
            code => Verdict::Other(code),
        };
        Ok(Outcome { verdict, packet })
    }
}
