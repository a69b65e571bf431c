//! Questions to bpf(2) that aya does not ask: which links and tcx programs does an interface have,
//! and a program that does nothing, to offer to a driver.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::{errno::Errno, libc};

/// Commands of bpf(2) (linux/bpf.h).
const PROG_LOAD: u32 = 5;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const PROG_QUERY: u32 = 16;
const LINK_GET_FD_BY_ID: u32 = 30;
const LINK_GET_NEXT_ID: u32 = 31;
/// `BPF_PROG_TYPE_XDP`, `BPF_LINK_TYPE_XDP`.
const PROG_TYPE_XDP: u64 = 6;
const LINK_TYPE_XDP: u32 = 6;
/// `r0 = XDP_PASS` and `exit`, as two instructions.
const PASS: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];
/// The most tcx programs of one hook (`BPF_MPROG_MAX`, linux/bpf_mprog.h).
const MOST_TCX: usize = 64;

/// `union bpf_attr`, as long as any command's part of it that is used here.
type Attributes = [u64; 16];

/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`.
pub(crate) const TCX_INGRESS: u32 = 46;
/// As [`TCX_INGRESS`].
pub(crate) const TCX_EGRESS: u32 = 47;

/// A program on a tcx hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tcx {
    /// The kernel's id of the program.
    pub(crate) program: u32,
    /// The id of the link that holds it there, unless it hangs there by itself.
    pub(crate) link: Option<u32>,
}

/// Loads an XDP program that passes everything on.
pub(crate) fn load_pass() -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut attributes: Attributes = [0; 16];
    attributes[0] = PROG_TYPE_XDP | ((PASS.len() as u64) << 32);
    attributes[1] = PASS.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    let fd = bpf(PROG_LOAD, &mut attributes)?;
    // SAFETY: the kernel has just made this descriptor for the caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The programs on a tcx hook of an interface, in the order they run; `None` where the kernel is
/// older than tcx (6.6).
pub(crate) fn tcx(ifindex: u32, hook: u32) -> io::Result<Option<Vec<Tcx>>> {
    let mut programs = [0_u32; MOST_TCX];
    let mut links = [0_u32; MOST_TCX];
    let mut attributes: Attributes = [0; 16];
    // Interface and hook; flags; where the ids go, and for how many there is room; flags of each
    // program; ids of the links.
    attributes[0] = u64::from(ifindex) | (u64::from(hook) << 32);
    attributes[2] = programs.as_mut_ptr() as u64;
    attributes[3] = MOST_TCX as u64;
    attributes[5] = links.as_mut_ptr() as u64;
    match bpf(PROG_QUERY, &mut attributes) {
        Ok(_) => {}
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => return Ok(None),
        // No program was ever there.
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {
            return Ok(Some(Vec::new()));
        }
        Err(error) => return Err(error),
    }
    let count = (attributes[3] & u64::from(u32::MAX)) as usize;
    let found = programs.iter().zip(&links).take(count);
    let found = found.map(|(&program, &link)| Tcx {
        program,
        link: (link != 0).then_some(link),
    });
    Ok(Some(found.collect()))
}

/// The links that hold a program at XDP of an interface with this index, in whichever network
/// namespace: the kernel does not say which.
pub(crate) fn xdp_links(ifindex: u32, program: u32) -> io::Result<Vec<u32>> {
    let (mut id, mut found) = (0, Vec::new());
    loop {
        let mut attributes: Attributes = [0; 16];
        attributes[0] = id;
        match bpf(LINK_GET_NEXT_ID, &mut attributes) {
            Ok(_) => id = attributes[0] >> 32,
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => return Ok(found),
            Err(error) => return Err(error),
        }
        let info = match link_info(id) {
            Ok(info) => info,
            // It has gone in the meantime.
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => continue,
            Err(error) => return Err(error),
        };
        // struct bpf_link_info: type, id, program; from its 16th byte on, what the type says.
        if info[0] as u32 == LINK_TYPE_XDP && info[1] as u32 == program && info[2] as u32 == ifindex
        {
            found.push(id as u32);
        }
    }
}

fn link_info(id: u64) -> io::Result<Attributes> {
    let mut attributes: Attributes = [0; 16];
    attributes[0] = id;
    let fd = bpf(LINK_GET_FD_BY_ID, &mut attributes)?;
    // SAFETY: the kernel has just made this descriptor for the caller.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info: Attributes = [0; 16];
    let mut attributes: Attributes = [0; 16];
    attributes[0] =
        u64::from(fd.as_raw_fd().cast_unsigned()) | ((size_of::<Attributes>() as u64) << 32);
    attributes[1] = info.as_mut_ptr() as u64;
    bpf(OBJ_GET_INFO_BY_FD, &mut attributes)?;
    Ok(info)
}

fn bpf(command: u32, attributes: &mut Attributes) -> io::Result<i32> {
    // SAFETY: the attributes are as long as is said; all pointers in them lead to memory that
    // outlives the call and is as large as the lengths beside them say.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of::<Attributes>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as i32)
}
