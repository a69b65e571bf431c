//! The loaded programs with their maps, and what they are attached to.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
};

use anyhow::Result;
use l2ha_ebpf::plan::{AttachMode, Sublayer};
use linux::tc::TcHook;

use crate::{
    bpffs,
    counters::{self, Counters},
    filter,
    object::{self, LoadOptions, Object},
    pins,
    reassembled::Reassembled,
    sessions::Sessions,
    types::{Attached, Endpoint, Session},
    underlay::Underlay,
    watch::Watch,
};

/// The loaded programs with their maps, and what they are attached to.
///
/// Dropping it leaves attached what is attached; [`DataPlane::unload`] removes it.
pub struct DataPlane {
    pub(crate) object: Object,
    pin_dir: PathBuf,
    sessions: Sessions,
    watch: Watch,
    underlay: Underlay,
    /// Names of the virtual interfaces' ends that have filters: visible, hidden.
    interfaces: Vec<(String, String)>,
}

impl DataPlane {
    /// Loads the maps that an earlier daemon left if they have this layout, and empty ones otherwise. A program is
    /// loaded when it is first attached or tried. Nothing is attached yet, and what is attached goes on.
    ///
    /// `pin_dir` lies on a bpffs and is this node's own; it is made if it is missing.
    ///
    /// # Errors
    ///
    /// When there is no bpffs, or the kernel refuses the programs.
    pub fn load(pin_dir: &Path) -> Result<Self> {
        Self::load_with(pin_dir, LoadOptions::default())
    }

    /// As [`DataPlane::load`], with options.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn load_with(pin_dir: &Path, options: LoadOptions) -> Result<Self> {
        let maps = pins::folder(pin_dir);
        bpffs::ensure_dir(&maps)?;
        let taken_over = pins::take_over(pin_dir, &maps)?;
        let mut object = Object::load(options, &maps)?;
        let sessions = match taken_over {
            0 => Sessions::none(),
            _ => Sessions::adopt(&mut object)?,
        };
        tracing::info!(
            maps = taken_over,
            sessions = sessions.count(),
            "maps taken over from an earlier daemon"
        );
        Ok(Self {
            object,
            pin_dir: pin_dir.to_owned(),
            sessions,
            watch: Watch::open(pin_dir)?,
            underlay: Underlay::new(pin_dir),
            interfaces: Vec::new(),
        })
    }

    /// Attaches decapsulation to the underlay. An earlier daemon's attachment is taken over
    /// without a gap; with the hook that is not used any more it is removed afterwards.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or another XDP program is there and tc is not allowed.
    pub fn attach_underlay(
        &mut self,
        ifindex: u32,
        interface: &str,
        mode: AttachMode,
    ) -> Result<Attached> {
        self.underlay
            .attach(&mut self.object, ifindex, interface, mode)
    }

    /// Whether [`DataPlane::attach_underlay`] would find an earlier daemon's program and take its
    /// place.
    pub fn would_adopt(&self, ifindex: u32, interface: &str, mode: AttachMode) -> Result<bool> {
        self.underlay.would_adopt(ifindex, interface, mode)
    }

    /// Whether the program of this load is still attached where it was put.
    pub fn underlay_attached(&self) -> Result<bool> {
        self.underlay.is_attached(&self.object)
    }

    /// Detaches decapsulation from the underlay.
    ///
    /// # Errors
    ///
    /// When it could not be removed.
    pub fn detach_underlay(&mut self) -> Result<()> {
        self.underlay.detach()
    }

    /// Attaches the encapsulating programs to both ends of a virtual interface: egress of the
    /// visible one, ingress of the hidden one. What an earlier daemon left there is replaced in
    /// one step; what is there already is left alone.
    ///
    /// # Errors
    ///
    /// When an end is missing or the kernel refuses.
    pub fn attach_session_interface(&mut self, visible: &str, hidden: &str) -> Result<()> {
        // Loaded before either is there: between the two, what the visible end sends counts as stray.
        self.object.classifier(object::ENCAP)?;
        // The hidden end first: what the visible one sends must find it ready.
        self.object
            .attach_filter(object::HIDDEN, hidden, TcHook::Ingress)?;
        self.object
            .attach_filter(object::ENCAP, visible, TcHook::Egress)?;
        let names = (visible.to_owned(), hidden.to_owned());
        if !self.interfaces.contains(&names) {
            self.interfaces.push(names);
        }
        Ok(())
    }

    /// Whether both programs of this load are attached to both ends.
    pub fn session_interface_attached(&self, visible: &str, hidden: &str) -> Result<bool> {
        Ok(self
            .object
            .is_filter_attached(object::ENCAP, visible, TcHook::Egress)?
            && self
                .object
                .is_filter_attached(object::HIDDEN, hidden, TcHook::Ingress)?)
    }

    /// Writes a session; one with the same id is replaced.
    ///
    /// # Errors
    ///
    /// When the addresses are of different families, the id is 0, or there are too many sessions.
    pub fn set_session(&mut self, session: &Session) -> Result<()> {
        let slot = self.sessions.set(&mut self.object, session)?;
        let sublayer = match session.sublayer {
            Sublayer::None => 0,
            Sublayer::Default => l2ha_ebpf::wire::SUBLAYER,
        };
        self.watch.know(slot, session.session_id, sublayer)
    }

    /// Whether what is sent from a session's interface has the outer headers that the session says, its cookie among
    /// them: as this daemon or an earlier one has written it.
    ///
    /// # Errors
    ///
    /// When the maps cannot be read.
    pub fn has_headers(&mut self, session: &Session) -> Result<bool> {
        self.sessions.has_headers(&mut self.object, session)
    }

    /// Removes a session and what belongs to its virtual interface; without effect when there is
    /// none.
    ///
    /// # Errors
    ///
    /// When the maps cannot be changed.
    pub fn remove_session(&mut self, session_id: u32, visible_ifindex: u32) -> Result<()> {
        self.sessions
            .remove(&mut self.object, session_id, visible_ifindex)
    }

    /// To be called when sessions have been set: until then, what has changed works, but is found more slowly.
    /// Takes some milliseconds if anything has.
    ///
    /// # Errors
    ///
    /// When this kernel cannot wait for programs to end.
    pub fn settle(&mut self) -> Result<()> {
        self.sessions.settle(&mut self.object)
    }

    /// How many sessions take a second look to be found: they share a row with another one, or have changed since
    /// [`DataPlane::settle`].
    #[must_use]
    pub fn without_row(&self) -> usize {
        self.sessions.without_row()
    }

    /// Ends a takeover: removes every session but these from the maps, and the maps of other
    /// layouts that an earlier daemon used. To be called once everything is attached. Returns how
    /// many sessions were removed.
    ///
    /// # Errors
    ///
    /// When the maps or pins cannot be changed.
    pub fn keep_only(&mut self, session_ids: &HashSet<u32>) -> Result<usize> {
        let removed = self.sessions.keep_only(&mut self.object, session_ids)?;
        pins::remove_others(&self.pin_dir)?;
        Ok(removed)
    }

    /// Replaces the list of local addresses and ports whose packets are the data plane's.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub fn set_endpoints(&mut self, endpoints: &[Endpoint]) -> Result<()> {
        self.sessions.set_endpoints(&mut self.object, endpoints)
    }

    /// The way of packets that the kernel reassembled; it knows the sessions as they are set here.
    #[must_use]
    pub fn reassembled(&self) -> &Reassembled {
        self.sessions.reassembled()
    }

    /// The way to watch packets.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Reads the counters.
    ///
    /// # Errors
    ///
    /// When the maps cannot be read.
    pub fn counters(&self) -> Result<Counters> {
        counters::read(&self.object, &self.sessions)
    }

    /// How many instructions this kernel's verifier went through to accept each program, by the
    /// program's name; a kernel refuses at a million.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell, as before Linux 5.16.
    pub fn verified_instructions(&mut self) -> Result<BTreeMap<&'static str, u32>> {
        self.object.verified_instructions()
    }

    /// Detaches everything and removes the pins.
    ///
    /// # Errors
    ///
    /// When something could not be removed; the rest is removed all the same.
    pub fn unload(&mut self) -> Result<()> {
        let mut result = self.detach_underlay();
        for (visible, hidden) in std::mem::take(&mut self.interfaces) {
            for (name, hook) in [(visible, TcHook::Egress), (hidden, TcHook::Ingress)] {
                result = result.and(filter::remove_ours(&name, hook, None));
            }
        }
        result
            .and(pins::remove_all(&self.pin_dir))
            .and(bpffs::remove_dir(&self.pin_dir))
    }
}
