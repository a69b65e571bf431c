//! Frames injected as a driver would: `BPF_PROG_TEST_RUN` with live frames runs a small XDP program
//! that writes a frame and redirects it to an interface (kernel: net/bpf/test_run.c). And further
//! entries for the map of a daemon under test.

mod paced;

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail, ensure};
use l2ha_ebpf::abi::{Receive, SessionId};
use nix::libc;

pub use paced::{Fields, Paced};

/// Commands of bpf(2) (linux/bpf.h).
const MAP_CREATE: u32 = 0;
const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const PROG_LOAD: u32 = 5;
const PROG_TEST_RUN: u32 = 10;
const MAP_GET_NEXT_ID: u32 = 12;
const MAP_GET_FD_BY_ID: u32 = 14;
const OBJ_GET_INFO_BY_FD: u32 = 15;
/// `BPF_PROG_TYPE_XDP`, and `BPF_F_TEST_XDP_LIVE_FRAMES`.
const PROG_TYPE_XDP: u64 = 6;
const LIVE_FRAMES: u64 = 1 << 1;
/// Helpers `bpf_get_prandom_u32` and `bpf_redirect`.
const PRANDOM: i32 = 7;
const REDIRECT: i32 = 23;
/// `struct bpf_map_info` up to its name, in bytes.
const MAP_INFO: usize = 80;

/// Which session ids the frames have: `count` of them from `base` on, at random.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Where the id lies in the frame, in bytes.
    pub offset: usize,
    /// The first id.
    pub base: u32,
    /// How many.
    pub count: u32,
}

/// One frame, ready to be sent again and again through an interface.
#[derive(Debug)]
pub struct Injector {
    program: OwnedFd,
    length: usize,
}

impl Injector {
    /// Makes the program. The whole frame is written each time, because the kernel gives a page
    /// back as the receiver has left it.
    ///
    /// # Errors
    ///
    /// When not root, or the kernel refuses the program.
    pub fn new(frame: &[u8], ifindex: u32, spread: Option<Spread>) -> Result<Self> {
        Self::load(&program(frame, ifindex, spread)?, frame.len())
    }

    /// Loads the program for a frame of `length` bytes.
    fn load(code: &[u64], length: usize) -> Result<Self> {
        let license = c"GPL";
        let mut attributes = [0_u64; 16];
        attributes[0] = PROG_TYPE_XDP | (u64::try_from(code.len())? << 32);
        attributes[1] = code.as_ptr() as u64;
        attributes[2] = license.as_ptr() as u64;
        // Only what is refused is asked for its log: one that is too short for all of it is an error of its own.
        let program = bpf(PROG_LOAD, &mut attributes).or_else(|_| {
            let mut log = vec![0_u8; 64 * 1024];
            attributes[3] = 1 | (u64::try_from(log.len())? << 32);
            attributes[4] = log.as_mut_ptr() as u64;
            bpf(PROG_LOAD, &mut attributes).with_context(|| {
                let end = log.iter().position(|byte| *byte == 0).unwrap_or(0);
                format!(
                    "the kernel refuses the injecting program: {}",
                    String::from_utf8_lossy(&log[..end])
                )
            })
        })?;
        Ok(Self {
            program: own(program),
            length,
        })
    }

    /// Injects `count` frames on this CPU, in batches of 64 as a driver's NAPI would, and handles
    /// each batch before the next. To be called in the namespace of the interface.
    ///
    /// # Errors
    ///
    /// When the kernel has no live frames (before 5.18), or a signal came.
    pub fn run(&self, count: u32) -> Result<()> {
        let data = vec![0_u8; self.length];
        let descriptor = u64::try_from(self.program.as_raw_fd())?;
        let mut attributes = [0_u64; 16];
        attributes[0] = descriptor;
        attributes[1] = u64::try_from(data.len())?;
        attributes[2] = data.as_ptr() as u64;
        attributes[4] = u64::from(count);
        attributes[8] = LIVE_FRAMES;
        bpf(PROG_TEST_RUN, &mut attributes)
            .map(drop)
            .context("cannot inject live frames (they need Linux 5.18)")
    }
}

/// Lets the kernel's own threads go before the calling thread from now on: where packets are left
/// to `ksoftirqd`, injecting more of them must not keep it from its work.
///
/// # Errors
///
/// When the kernel refuses, which it does not.
pub fn stand_back() -> Result<()> {
    // SAFETY: no memory is involved; 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    ensure!(result == 0, "{}", io::Error::last_os_error());
    Ok(())
}

/// One instruction (linux/bpf.h, `struct bpf_insn`).
fn instruction(code: u8, registers: (u8, u8), offset: i16, value: i32) -> u64 {
    let (to, from) = registers;
    let mut bytes = [0; 8];
    bytes[0] = code;
    bytes[1] = to | (from << 4);
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..].copy_from_slice(&value.to_ne_bytes());
    u64::from_ne_bytes(bytes)
}

fn program(frame: &[u8], ifindex: u32, spread: Option<Spread>) -> Result<Vec<u64>> {
    let mut code = write(frame)?;
    if let Some(spread) = spread {
        ensure!(spread.offset + 4 <= frame.len() && spread.count > 0);
        let base = i32::from_ne_bytes(spread.base.to_ne_bytes());
        code.extend([
            instruction(0x85, (0, 0), 0, PRANDOM),
            // r0 %= count; r0 += base; as big-endian.
            instruction(0x94, (0, 0), 0, i32::try_from(spread.count)?),
            instruction(0x04, (0, 0), 0, base),
            instruction(0xdc, (0, 0), 0, 32),
            instruction(0x63, (6, 0), i16::try_from(spread.offset)?, 0),
        ]);
    }
    code.extend(redirect(ifindex)?);
    Ok(code)
}

/// Writes the frame, to which r6 points from then on.
fn write(frame: &[u8]) -> Result<Vec<u64>> {
    ensure!(
        (14..=256).contains(&frame.len()),
        "a frame of {} bytes cannot be injected: 14 to 256",
        frame.len()
    );
    let length = i32::try_from(frame.len())?;
    // r6 = data, r3 = data_end: unless all of the frame is there, abort.
    let mut code = vec![
        instruction(0x61, (6, 1), 0, 0),
        instruction(0x61, (3, 1), 4, 0),
        instruction(0xbf, (4, 6), 0, 0),
        instruction(0x07, (4, 0), 0, length),
        instruction(0xb7, (0, 0), 0, 0),
        instruction(0xbd, (4, 3), 1, 0),
        instruction(0x95, (0, 0), 0, 0),
    ];
    let mut at = 0;
    while at < frame.len() {
        let rest = frame.len() - at;
        let (size, store) = match rest {
            8.. => (8, 0x7b),
            4.. => (4, 0x63),
            2.. => (2, 0x6b),
            _ => (1, 0x73),
        };
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&frame[at..at + size]);
        let low = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let high = i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        code.push(instruction(0x18, (5, 0), 0, low));
        code.push(instruction(0, (0, 0), 0, high));
        code.push(instruction(store, (6, 5), i16::try_from(at)?, 0));
        at += size;
    }
    Ok(code)
}

/// Ends the program: the frame goes out by this interface.
fn redirect(ifindex: u32) -> Result<[u64; 4]> {
    Ok([
        instruction(0xb7, (1, 0), 0, i32::try_from(ifindex)?),
        instruction(0xb7, (2, 0), 0, 0),
        instruction(0x85, (0, 0), 0, REDIRECT),
        instruction(0x95, (0, 0), 0, 0),
    ])
}

/// Gives what a daemon knows of session `id` to `count - 1` ids after it as well: their entries in its hash map and
/// their rows. The maps are found by having that id, which must be unlike any other on the machine.
///
/// # Errors
///
/// When there are no such maps, or they have not so much room.
pub fn multiply_session(id: u32, count: u32) -> Result<()> {
    /// A session's row, with which its entry begins, and where its id is in that.
    const ROW: usize = size_of::<Receive>();
    const ID: usize = ROW - size_of::<SessionId>();
    let row = |id: u32| SessionId::new(id).row().to_ne_bytes();
    let (sessions, mut value) = find_map("SESSIONS", id.to_be_bytes(), |_| true)?
        .with_context(|| format!("no daemon has session {id}"))?;
    let is_wanted = |row: &[u8]| row.get(ID..) == Some(&id.to_be_bytes());
    let (rows, _) = find_map("ROWS", row(id), is_wanted)?
        .with_context(|| format!("session {id} has no row"))?;
    for id in id + 1..id + count {
        value[ID..ROW].copy_from_slice(&id.to_be_bytes());
        put(&sessions, id.to_be_bytes(), &value)
            .with_context(|| format!("no room for session {id}"))?;
        put(&rows, row(id), &value[..ROW]).with_context(|| format!("the row of session {id}"))?;
    }
    Ok(())
}

/// The map of this name that has a value for the key that is the wanted one, and the value.
fn find_map(
    name: &str,
    key: [u8; 4],
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<(OwnedFd, Vec<u8>)>> {
    let mut number = 0_u32;
    loop {
        let mut attributes = [0_u64; 16];
        attributes[0] = u64::from(number);
        match bpf(MAP_GET_NEXT_ID, &mut attributes) {
            Ok(_) => number = u32::try_from(attributes[0] >> 32)?,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error).context("cannot list the BPF maps"),
        }
        let mut attributes = [0_u64; 16];
        attributes[0] = u64::from(number);
        // It may have gone since.
        let Ok(descriptor) = bpf(MAP_GET_FD_BY_ID, &mut attributes) else {
            continue;
        };
        let map = own(descriptor);
        let mut info = [0_u8; MAP_INFO];
        let mut attributes = [0_u64; 16];
        attributes[0] = u64::try_from(map.as_raw_fd())? | ((MAP_INFO as u64) << 32);
        attributes[1] = info.as_mut_ptr() as u64;
        bpf(OBJ_GET_INFO_BY_FD, &mut attributes).context("cannot look at a BPF map")?;
        let word =
            |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        let named = &info[24..40];
        let end = named.iter().position(|byte| *byte == 0).unwrap_or(16);
        if named[..end] != *name.as_bytes() || word(8) != 4 {
            continue;
        }
        let mut value = vec![0; usize::try_from(word(12))?];
        if read(&map, key, &mut value)? && is_wanted(&value) {
            return Ok(Some((map, value)));
        }
    }
}

/// Reads the value of a key; false when there is none.
fn read(map: &OwnedFd, key: [u8; 4], value: &mut [u8]) -> Result<bool> {
    match bpf(
        MAP_LOOKUP,
        &mut element(map, &key, value.as_mut_ptr() as u64)?,
    ) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => bail!("cannot read a BPF map: {error}"),
    }
}

/// Writes the value of a key.
fn put(map: &OwnedFd, key: [u8; 4], value: &[u8]) -> Result<()> {
    bpf(MAP_UPDATE, &mut element(map, &key, value.as_ptr() as u64)?)
        .context("cannot write a BPF map")?;
    Ok(())
}

/// What bpf(2) wants to know of one key and where its value is.
fn element(map: &OwnedFd, key: &[u8; 4], value: u64) -> Result<[u64; 16]> {
    let mut attributes = [0_u64; 16];
    attributes[0] = u64::try_from(map.as_raw_fd())?;
    attributes[1] = key.as_ptr() as u64;
    attributes[2] = value;
    Ok(attributes)
}

/// A descriptor that bpf(2) has just returned.
fn own(descriptor: i32) -> OwnedFd {
    // SAFETY: every caller passes what the kernel has just given to it alone.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// bpf(2). What the attributes point at must live through the call and be as long as they say.
pub(crate) fn bpf(command: u32, attributes: &mut [u64; 16]) -> io::Result<i32> {
    // SAFETY: every caller above lets the attributes point only at buffers it owns, with their true
    // lengths, and the kernel keeps none of the pointers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of_val(attributes),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_frame_is_written_once() -> Result<()> {
        let frame: Vec<u8> = (1..=63).collect();
        let code = program(&frame, 3, None)?;
        let mut written = vec![0_u8; 63];
        for pair in code[7..].windows(3) {
            let [low, high, store] = pair else {
                continue;
            };
            let (low, high, store) = (low.to_ne_bytes(), high.to_ne_bytes(), store.to_ne_bytes());
            let size = match (low[0], store[0]) {
                (0x18, 0x7b) => 8,
                (0x18, 0x63) => 4,
                (0x18, 0x6b) => 2,
                (0x18, 0x73) => 1,
                _ => continue,
            };
            let at = usize::from(u16::from_ne_bytes([store[2], store[3]]));
            let value = [&low[4..], &high[4..]].concat();
            for (to, from) in written[at..at + size].iter_mut().zip(value) {
                assert_eq!(*to, 0);
                *to = from;
            }
        }
        assert_eq!(written, frame);
        Ok(())
    }

    #[test]
    fn what_cannot_be_injected_is_refused() {
        assert!(program(&[0; 13], 1, None).is_err());
        assert!(program(&[0; 257], 1, None).is_err());
        let spread = Spread {
            offset: 11,
            base: 1,
            count: 1,
        };
        assert!(program(&[0; 14], 1, Some(spread)).is_err());
    }
}
