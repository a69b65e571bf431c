//! The embedded object: loading it, and its programs and maps by name.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray},
    programs::{ProgramError, ProgramInfo, SchedClassifier, Xdp},
};
use bytemuck::AnyBitPattern;
use l2ha_ebpf::abi::layout;
use nix::sys::signal::{SigSet, SigmaskHow};
use tracing::debug;

use crate::{forwarder::Forwarder, pins};

/// How many lines of the verifier an error has.
const LAST_LINES: usize = 4;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/l2ha.bpf.o"));

/// What the names of all programs begin with; tc filters are recognised by it.
pub(crate) const PREFIX: &str = "l2ha_";
/// Decapsulation, native XDP on the underlay.
pub(crate) const XDP: &str = "l2ha_xdp";
/// Decapsulation, tc ingress of the underlay.
pub(crate) const DECAP: &str = "l2ha_decap";
/// Sending on what XDP has stripped and GRO merged, tc ingress of the underlay.
pub(crate) const MERGED: &str = "l2ha_merged";
/// Encapsulation, tc egress of the visible end.
pub(crate) const ENCAP: &str = "l2ha_encap";
/// Sending on, tc ingress of the hidden end.
pub(crate) const HIDDEN: &str = "l2ha_hidden";

/// A key or value of a map, from the crate shared with the programs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub(crate) struct Shared<T>(pub(crate) T);

// SAFETY: transparent over a type without padding or invalid bit patterns.
unsafe impl<T: bytemuck::Pod> Pod for Shared<T> {}

/// What can be chosen when the programs are loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Log each refused packet at debug level. Costs time for each of them; otherwise the
    /// verifier removes the code.
    pub log_refused: bool,
}

/// The loaded object.
pub(crate) struct Object {
    bpf: Ebpf,
    _forwarder: Option<Forwarder>,
}

impl Object {
    /// Loads the maps, taken over from `maps` or pinned there. A program is loaded when it is first asked for: which
    /// of them decapsulates is known only when it is attached, and the verifier's look at one of them takes half of a
    /// start.
    pub(crate) fn load(options: LoadOptions, maps: &Path) -> Result<Self> {
        let log_refused = u8::from(options.log_refused);
        let mut loader = EbpfLoader::new();
        for map in layout::MAPS {
            loader.map_pin_path(map.name, maps.join(pins::name(&map)));
        }
        let mut bpf = loader
            .override_global("LOG_REFUSED", &log_refused, true)
            .load(OBJECT)
            .context(
                "cannot load the BPF object: l2ha needs Linux 6.1 or newer, and CAP_BPF, \
                 CAP_NET_ADMIN and CAP_PERFMON (or root)",
            )?;
        let forwarder = match options.log_refused {
            true => Some(Forwarder::start(&mut bpf)?),
            false => None,
        };
        Ok(Self {
            bpf,
            _forwarder: forwarder,
        })
    }

    /// The XDP program, loaded.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub(crate) fn xdp(&mut self) -> Result<&mut Xdp> {
        let program = self.bpf.program_mut(XDP).with_context(|| missing(XDP))?;
        let program: &mut Xdp = program.try_into().context("not an XDP program")?;
        if program.fd().is_err() {
            load(XDP, || program.load())?;
        }
        Ok(program)
    }

    /// A tc program, loaded.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub(crate) fn classifier(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        let program = self.bpf.program_mut(name).with_context(|| missing(name))?;
        let program: &mut SchedClassifier = program.try_into().context("not a tc program")?;
        if program.fd().is_err() {
            load(name, || program.load())?;
        }
        Ok(program)
    }

    /// How many instructions the verifier goes through for each program.
    pub(crate) fn verified_instructions(&mut self) -> Result<BTreeMap<&'static str, u32>> {
        let mut counts = BTreeMap::new();
        for name in [XDP, DECAP, MERGED, ENCAP, HIDDEN] {
            let info = match name {
                XDP => self.xdp()?.info()?,
                _ => self.classifier(name)?.info()?,
            };
            let count = info.verified_instruction_count();
            counts.insert(
                name,
                count.with_context(|| format!("the kernel counted none for {name}"))?,
            );
        }
        Ok(counts)
    }

    /// The kernel's id of a program, if it is loaded.
    pub(crate) fn program_id(&self, name: &str) -> Result<Option<u32>> {
        let program = self.bpf.program(name).with_context(|| missing(name))?;
        if program.fd().is_err() {
            return Ok(None);
        }
        let info: ProgramInfo = program
            .info()
            .with_context(|| format!("the kernel does not know the program {name} any more"))?;
        Ok(Some(info.id()))
    }

    /// A hash map to write to.
    pub(crate) fn hash_mut<K, V>(
        &mut self,
        name: &str,
    ) -> Result<HashMap<&mut MapData, Shared<K>, Shared<V>>>
    where
        K: bytemuck::Pod,
        V: bytemuck::Pod,
    {
        let map: &mut Map = self.bpf.map_mut(name).with_context(|| missing(name))?;
        HashMap::try_from(map).with_context(|| format!("the map {name} is not what it should be"))
    }

    /// A hash map to read.
    pub(crate) fn hash<K, V>(&self, name: &str) -> Result<HashMap<&MapData, Shared<K>, Shared<V>>>
    where
        K: bytemuck::Pod,
        V: bytemuck::Pod,
    {
        let map: &Map = self.bpf.map(name).with_context(|| missing(name))?;
        HashMap::try_from(map).with_context(|| format!("the map {name} is not what it should be"))
    }

    /// A per-CPU array to write to.
    pub(crate) fn array_mut<V: bytemuck::Pod>(
        &mut self,
        name: &str,
    ) -> Result<PerCpuArray<&mut MapData, Shared<V>>> {
        let map: &mut Map = self.bpf.map_mut(name).with_context(|| missing(name))?;
        PerCpuArray::try_from(map)
            .with_context(|| format!("the map {name} is not what it should be"))
    }

    /// An array to write to.
    pub(crate) fn plain_array_mut<V: bytemuck::Pod>(
        &mut self,
        name: &str,
    ) -> Result<Array<&mut MapData, Shared<V>>> {
        let map: &mut Map = self.bpf.map_mut(name).with_context(|| missing(name))?;
        Array::try_from(map).with_context(|| format!("the map {name} is not what it should be"))
    }

    /// A per-CPU array to read.
    pub(crate) fn array<V: bytemuck::Pod + AnyBitPattern>(
        &self,
        name: &str,
    ) -> Result<PerCpuArray<&MapData, Shared<V>>> {
        let map: &Map = self.bpf.map(name).with_context(|| missing(name))?;
        PerCpuArray::try_from(map)
            .with_context(|| format!("the map {name} is not what it should be"))
    }
}

/// Loads a program.
///
/// The verifier gives up with EAGAIN when a signal waits for its thread (kernel/bpf/verifier.c), and a daemon whose
/// checks are processes gets one for each that ends: they wait for another thread, or until the program is loaded.
fn load(name: &str, load: impl FnOnce() -> Result<(), ProgramError>) -> Result<()> {
    let before = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_BLOCK)
        .context("cannot hold back signals")?;
    let loaded = load();
    before
        .thread_set_mask()
        .context("cannot let signals through again")?;
    loaded
        .map_err(in_short)
        .with_context(|| format!("the kernel refuses the program {name}"))
}

/// What the verifier said last; the whole of it is thousands of lines.
fn in_short(error: ProgramError) -> anyhow::Error {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return error.into();
    };
    let said = verifier_log.to_string();
    debug!(%said, "the verifier");
    let mut last: Vec<&str> = said.lines().rev().take(LAST_LINES).collect();
    last.reverse();
    let error = anyhow::Error::new(io_error);
    match last.is_empty() {
        true => error,
        false => error.context(format!("the verifier ends with `{}`", last.join("; "))),
    }
}

fn missing(name: &str) -> String {
    format!("the embedded BPF object has no {name}: build l2ha again")
}
