//! VLAN tags without the kernel's VLAN devices: two tiny tc programs, one that tags what leaves an
//! interface and one that removes the tag of what arrives.

use std::{ffi::CString, io, os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::Context as _;
use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{NlOptions, TcAttachOptions},
};
use l2ha_lab::Namespace;
use nix::libc;

use super::{Result, net::VISIBLE};

/// `struct bpf_insn`: operation, registers (destination in the low half), offset, immediate.
type Instruction = (u8, u8, i16, i32);

const MOV_IMMEDIATE: u8 = 0xb7;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const VLAN_PUSH: i32 = 18;
const VLAN_POP: i32 = 19;

/// Tags frames with VLAN 5; the next filter sees the tag beside the frame, as a VLAN device would
/// leave it.
const PUSH: &[Instruction] = &[
    (MOV_IMMEDIATE, 2, 0, 0x8100_u16.to_be() as i32),
    (MOV_IMMEDIATE, 3, 0, 5),
    (CALL, 0, 0, VLAN_PUSH),
    (MOV_IMMEDIATE, 0, 0, -1),
    (EXIT, 0, 0, 0),
];
const POP: &[Instruction] = &[
    (CALL, 0, 0, VLAN_POP),
    (MOV_IMMEDIATE, 0, 0, -1),
    (EXIT, 0, 0, 0),
];

/// From now on every frame that this host sends over the pseudowire is tagged, and what arrives
/// loses its tag.
pub(crate) fn tag_everything(ns: &Namespace, pins: &Path) -> Result {
    for (name, program, hook) in [
        ("push", PUSH, TcAttachType::Egress),
        ("pop", POP, TcAttachType::Ingress),
    ] {
        let pin = pins.join(name);
        load(program, &pin).with_context(|| format!("cannot load {name}"))?;
        let mut program = SchedClassifier::from_pin(&pin)?;
        ns.enter(|| -> Result {
            // There already where the data plane has a filter.
            let _ = aya::programs::tc::qdisc_add_clsact(VISIBLE);
            let options = TcAttachOptions::Netlink(NlOptions {
                priority: 1,
                ..NlOptions::default()
            });
            let link = program.attach_with_options(VISIBLE, hook, options)?;
            // It goes with the namespace.
            std::mem::forget(program.take_link(link)?);
            Ok(())
        })??;
    }
    Ok(())
}

/// Loads a tc program and pins it.
fn load(instructions: &[Instruction], pin: &Path) -> Result {
    let code: Vec<u8> = instructions
        .iter()
        .flat_map(|(operation, registers, offset, immediate)| {
            let mut bytes = vec![*operation, *registers];
            bytes.extend(offset.to_ne_bytes());
            bytes.extend(immediate.to_ne_bytes());
            bytes
        })
        .collect();
    let license = c"GPL";
    let path = CString::new(pin.as_os_str().as_bytes())?;

    // `union bpf_attr` of BPF_PROG_LOAD: type 3 (SCHED_CLS), length, code, license.
    let mut attributes = [0_u64; 16];
    attributes[0] = 3 | (instructions.len() as u64) << 32;
    attributes[1] = code.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    let program = bpf(5, &attributes)?;
    // Of BPF_OBJ_PIN: path, descriptor.
    let mut attributes = [0_u64; 16];
    attributes[0] = path.as_ptr() as u64;
    attributes[1] = program as u64;
    bpf(6, &attributes)?;
    Ok(())
}

fn bpf(command: i32, attributes: &[u64; 16]) -> Result<i64> {
    // SAFETY: the attributes are as large as is said, and what they point to lives in the caller.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_ptr(),
            size_of_val(attributes),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(answer)
}
