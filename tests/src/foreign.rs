//! A BPF program that is not ours: it does nothing, under a name of its own.

use std::{
    ffi::CString,
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{inject::bpf, ns::Namespace};

/// Commands of bpf(2) (linux/bpf.h).
const PROG_LOAD: u32 = 5;
const OBJ_PIN: u32 = 6;
const OBJ_GET_INFO_BY_FD: u32 = 15;
const LINK_CREATE: u32 = 28;
/// `r0 = WORD` and `exit`.
const RETURN: u64 = 0xb7;
const EXIT: u64 = 0x95;
/// `struct bpf_prog_info` up to the id and beyond it, in bytes.
const INFO: u64 = 64;

/// Where a program can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// XDP: `XDP_PASS`.
    Xdp,
    /// tc: `TC_ACT_OK`.
    Tc,
}

/// A hook that a link can hold a program at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkHook {
    /// Native XDP.
    Xdp,
    /// tcx ingress.
    TcxIngress,
}

impl LinkHook {
    /// `BPF_XDP`, `BPF_TCX_INGRESS`; and the flags, of which XDP has its mode.
    fn numbers(self) -> (u64, u64) {
        match self {
            Self::Xdp => (37, 1 << 2),
            Self::TcxIngress => (46, 0),
        }
    }
}

/// A loaded program that lets everything pass.
#[derive(Debug)]
pub struct Foreign {
    program: OwnedFd,
    id: u32,
    pin: Option<PathBuf>,
}

impl Foreign {
    /// Loads it under a name of at most 15 bytes.
    ///
    /// # Errors
    ///
    /// When not root.
    pub fn load(kind: Kind, name: &str) -> Result<Self> {
        ensure!(name.len() < 16, "{name} is too long for a program's name");
        let (number, verdict) = match kind {
            Kind::Xdp => (6_u64, 2_u64),
            Kind::Tc => (3, 0),
        };
        let code = [RETURN | (verdict << 32), EXIT];
        let license = c"GPL";
        let mut attributes = [0_u64; 16];
        attributes[0] = number | ((code.len() as u64) << 32);
        attributes[1] = code.as_ptr() as u64;
        attributes[2] = license.as_ptr() as u64;
        let mut bytes = [0_u8; 16];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        for (word, part) in attributes[6..8].iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_ne_bytes(part.try_into()?);
        }
        let fd = bpf(PROG_LOAD, &mut attributes).context("cannot load a program")?;
        // SAFETY: the kernel has just made this descriptor for the caller.
        let program = unsafe { OwnedFd::from_raw_fd(fd) };

        let mut info = [0_u32; INFO as usize / 4];
        let mut attributes = [0_u64; 16];
        attributes[0] = u64::from(program.as_raw_fd().cast_unsigned()) | (INFO << 32);
        attributes[1] = info.as_mut_ptr() as u64;
        bpf(OBJ_GET_INFO_BY_FD, &mut attributes).context("cannot ask for the program's id")?;
        Ok(Self {
            program,
            id: info[1],
            pin: None,
        })
    }

    /// The kernel's id of it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Attaches it by a link, which holds it for as long as it is kept.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn link(&self, ns: &Namespace, interface: &str, hook: LinkHook) -> Result<OwnedFd> {
        let index = ns.ifindex(interface)?.context("no such interface")?;
        let (kind, flags) = hook.numbers();
        let mut attributes = [0_u64; 16];
        attributes[0] =
            u64::from(self.program.as_raw_fd().cast_unsigned()) | (u64::from(index) << 32);
        attributes[1] = kind | (flags << 32);
        let fd = ns
            .enter(|| bpf(LINK_CREATE, &mut attributes))?
            .with_context(|| format!("cannot link the program to {interface}"))?;
        // SAFETY: the kernel has just made this descriptor for the caller.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Pins it, which tc needs to find it; removed with it.
    ///
    /// # Errors
    ///
    /// When the path is not on a bpffs, or taken.
    pub fn pin(&mut self, path: &Path) -> Result<()> {
        let text = CString::new(path.to_string_lossy().into_owned())?;
        let mut attributes = [0_u64; 16];
        attributes[0] = text.as_ptr() as u64;
        attributes[1] = u64::from(self.program.as_raw_fd().cast_unsigned());
        bpf(OBJ_PIN, &mut attributes).with_context(|| format!("cannot pin {}", path.display()))?;
        self.pin = Some(path.to_owned());
        Ok(())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(pin) = &self.pin
            && let Err(error) = fs::remove_file(pin)
        {
            eprintln!("lab: cannot remove {}: {error}", pin.display());
        }
    }
}
