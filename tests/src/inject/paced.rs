//! Numbered frames at even distances: what a receiver gets that is kept as busy as wanted.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{Injector, MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, bpf, instruction, own, redirect, write};

/// Helpers `bpf_map_lookup_elem` and `bpf_ktime_get_ns`.
const LOOKUP: i32 = 1;
const KTIME: i32 = 5;
/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u64 = 2;
/// Frames that the kernel injects at once (`NAPI_POLL_WEIGHT`).
const BATCH: u64 = 64;
/// How often the program looks at the clock for one frame: some microseconds.
const LOOKS: i32 = 400;

/// What differs from frame to frame, and where it lies in it, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// The number, big-endian, 8 bytes.
    pub number: usize,
    /// A cookie of 8 bytes.
    pub cookie: usize,
}

/// What is wanted: written here, read by the program.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    /// Nothing more.
    stop: u64,
    /// Nanoseconds from frame to frame.
    distance: u64,
    /// As it lies in the frame.
    cookie: u64,
    /// Nanoseconds by which a frame may be late without moving those after it: while a batch is handled,
    /// none is injected.
    late: u64,
}

/// Frames with numbers from 0 on.
#[derive(Debug)]
pub struct Paced {
    injector: Injector,
    wish: OwnedFd,
    wished: Mutex<Wish>,
    /// The next number, and when it is due, in nanoseconds: written by the program.
    state: OwnedFd,
}

impl Paced {
    /// Makes the program.
    ///
    /// # Errors
    ///
    /// When not root, or the kernel refuses it.
    pub fn new(frame: &[u8], ifindex: u32, fields: Fields) -> Result<Self> {
        ensure!(
            [fields.number, fields.cookie]
                .iter()
                .all(|at| at + 8 <= frame.len()),
            "no room for {fields:?} in {} bytes",
            frame.len()
        );
        let (wish, state) = (array(4)?, array(2)?);
        let code = program(frame, ifindex, fields, &wish, &state)?;
        Ok(Self {
            injector: Injector::load(&code, frame.len())?,
            wish,
            wished: Mutex::default(),
            state,
        })
    }

    /// Says how far apart frames are from now on, and with which cookie.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn set(&self, distance: Duration, cookie: [u8; 8]) -> Result<()> {
        let distance = u64::try_from(distance.as_nanos())?;
        self.wish(|wish| {
            *wish = Wish {
                stop: 0,
                distance,
                cookie: u64::from_ne_bytes(cookie),
                late: BATCH * distance,
            };
        })
    }

    /// Ends [`Paced::run`].
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn stop(&self) -> Result<()> {
        // The program may read while this is written: nothing else may change.
        self.wish(|wish| wish.stop = 1)
    }

    /// Injects up to `count` frames as [`Injector::run`] does; returns how many there have been since the
    /// beginning.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn run(&self, count: u32) -> Result<u64> {
        self.injector.run(count)?;
        let mut state = [0_u64; 2];
        access(MAP_LOOKUP, &self.state, &mut state)?;
        Ok(state[0])
    }

    fn wish(&self, change: impl FnOnce(&mut Wish)) -> Result<()> {
        let mut wish = self.wished.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut wish);
        let mut words = [wish.stop, wish.distance, wish.cookie, wish.late];
        access(MAP_UPDATE, &self.wish, &mut words)
    }
}

/// A map with one entry of this many words.
fn array(words: u64) -> Result<OwnedFd> {
    let mut attributes = [0_u64; 16];
    attributes[0] = ARRAY | 4 << 32;
    attributes[1] = (words * 8) | 1 << 32;
    bpf(MAP_CREATE, &mut attributes)
        .map(own)
        .context("cannot make a BPF map")
}

/// Reads or writes the entry of such a map.
fn access(command: u32, map: &OwnedFd, words: &mut [u64]) -> Result<()> {
    let key = 0_u32;
    let mut attributes = [0_u64; 16];
    attributes[0] = u64::try_from(map.as_raw_fd())?;
    attributes[1] = &raw const key as u64;
    attributes[2] = words.as_mut_ptr() as u64;
    bpf(command, &mut attributes)
        .map(drop)
        .context("cannot use a BPF map")
}

/// Puts the address of a map's entry into a register; ends the program if there is none.
fn entry(map: &OwnedFd, register: u8) -> [u64; 9] {
    [
        instruction(0x62, (10, 0), -4, 0),
        instruction(0xbf, (2, 10), 0, 0),
        instruction(0x07, (2, 0), 0, -4),
        instruction(0x18, (1, 1), 0, map.as_raw_fd()),
        instruction(0, (0, 0), 0, 0),
        instruction(0x85, (0, 0), 0, LOOKUP),
        instruction(0x55, (0, 0), 1, 0),
        // r0 is 0 here: XDP_ABORTED.
        instruction(0x95, (0, 0), 0, 0),
        instruction(0xbf, (register, 0), 0, 0),
    ]
}

fn program(
    frame: &[u8],
    ifindex: u32,
    fields: Fields,
    wish: &OwnedFd,
    state: &OwnedFd,
) -> Result<Vec<u64>> {
    let mut code = write(frame)?;
    code.extend(entry(wish, 7));
    code.extend(entry(state, 8));
    code.extend([
        // If stop: XDP_DROP.
        instruction(0x79, (1, 7), 0, 0),
        instruction(0x15, (1, 0), 2, 0),
        instruction(0xb7, (0, 0), 0, 1),
        instruction(0x95, (0, 0), 0, 0),
        // Look at the clock (r0) until the time (r9) has come, but not for ever.
        instruction(0x79, (9, 8), 8, 0),
        instruction(0xb7, (1, 0), 0, 0),
        instruction(0x7b, (10, 1), -16, 0),
        instruction(0x85, (0, 0), 0, KTIME),
        instruction(0x3d, (0, 9), 4, 0),
        instruction(0x79, (1, 10), -16, 0),
        instruction(0x07, (1, 0), 0, 1),
        instruction(0x7b, (10, 1), -16, 0),
        instruction(0xa5, (1, 0), -6, LOOKS),
        // The next is due a distance later, and not longer ago than may be.
        instruction(0x79, (1, 7), 8, 0),
        instruction(0x0f, (9, 1), 0, 0),
        instruction(0x79, (1, 7), 24, 0),
        instruction(0x1f, (0, 1), 0, 0),
        instruction(0x3d, (9, 0), 1, 0),
        instruction(0xbf, (9, 0), 0, 0),
        instruction(0x7b, (8, 9), 8, 0),
        // The number.
        instruction(0x79, (1, 8), 0, 0),
        instruction(0xbf, (2, 1), 0, 0),
        instruction(0x07, (2, 0), 0, 1),
        instruction(0x7b, (8, 2), 0, 0),
        instruction(0xdc, (1, 0), 0, 64),
        instruction(0x7b, (6, 1), i16::try_from(fields.number)?, 0),
        // The cookie.
        instruction(0x79, (1, 7), 16, 0),
        instruction(0x7b, (6, 1), i16::try_from(fields.cookie)?, 0),
    ]);
    code.extend(redirect(ifindex)?);
    Ok(code)
}
