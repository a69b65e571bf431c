//! The ways around sessions that are down, as the routing thread writes them. It has maps of its own, opened
//! from their pins, so that it never waits for the rest of the daemon.

use std::{collections::BTreeMap, net::IpAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, lpm_trie::Key};
use l2ha_ebpf::abi::{self, DetourKey, Transmit, layout};

use crate::{object::Shared, pins};

/// A destination, reached over an interface that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protected {
    /// Index of the visible end that leads there.
    pub interface: u32,
    /// The destination.
    pub destination: IpAddr,
    /// Length of its prefix in bits.
    pub prefix_len: u8,
}

/// The next hop to take instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instead {
    /// Index of the visible end.
    pub interface: u32,
    /// The neighbour's address there.
    pub gateway: IpAddr,
}

/// The maps of the detours.
pub struct Detours {
    patience: Array<MapData, u64>,
    detours: LpmTrie<MapData, Shared<DetourKey>, Shared<abi::Detour>>,
    interfaces: HashMap<MapData, u32, Shared<Transmit>>,
    /// What is in the maps, by slot and by key.
    watched: BTreeMap<u32, u64>,
    written: BTreeMap<(u32, DetourKey), abi::Detour>,
}

impl Detours {
    /// Opens the maps of a loaded data plane, and empties them of what an earlier daemon left.
    ///
    /// # Errors
    ///
    /// When they are not pinned below `pin_dir`, or the kernel refuses.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        let detours = LpmTrie::try_from(Map::LpmTrie(map(pin_dir, "DETOURS")?))?;
        let mut this = Self {
            patience: Array::try_from(Map::Array(map(pin_dir, "PATIENCE")?))?,
            detours,
            interfaces: HashMap::try_from(Map::HashMap(map(pin_dir, "INTERFACES")?))?,
            watched: BTreeMap::new(),
            written: BTreeMap::new(),
        };
        for slot in 0..this.patience.len() {
            if this.patience.get(&slot, 0)? != 0 {
                this.watched.insert(slot, u64::MAX);
            }
        }
        let left: Vec<Key<Shared<DetourKey>>> = this.detours.keys().collect::<Result<_, _>>()?;
        for key in &left {
            gone(this.detours.remove(key))?;
        }
        this.watch(&BTreeMap::new())?;
        Ok(this)
    }

    /// Says how long the session of each interface may be silent; of all others nothing is known.
    pub fn watch(&mut self, interfaces: &BTreeMap<u32, Duration>) -> Result<()> {
        let mut wanted = BTreeMap::new();
        for (interface, silence) in interfaces {
            if let Some(slot) = self.slot(*interface) {
                let silence = u64::try_from(silence.as_nanos()).unwrap_or(u64::MAX);
                wanted.insert(slot, silence);
            }
        }
        for slot in self
            .watched
            .keys()
            .filter(|slot| !wanted.contains_key(slot))
        {
            self.patience.set(*slot, 0, 0)?;
        }
        for (slot, silence) in &wanted {
            if self.watched.get(slot) != Some(silence) {
                self.patience.set(*slot, *silence, 0)?;
            }
        }
        self.watched = wanted;
        Ok(())
    }

    /// Replaces all detours.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or there are too many.
    pub fn set(&mut self, wanted: impl Iterator<Item = (Protected, Instead)>) -> Result<()> {
        let mut new = BTreeMap::new();
        for (protected, instead) in wanted {
            let slots = (self.slot(protected.interface), self.slot(instead.interface));
            let (Some(slot), Some(other)) = slots else {
                continue;
            };
            let v6 = protected.destination.is_ipv6();
            let key = DetourKey::new(slot, v6, protected.destination.into());
            let detour = abi::Detour::new(instead.gateway, instead.interface, other);
            let bits = DetourKey::bits(v6, protected.prefix_len);
            new.insert((bits, key), detour);
        }
        for (bits, key) in self.written.keys().filter(|key| !new.contains_key(key)) {
            gone(self.detours.remove(&Key::new(*bits, Shared(*key))))?;
        }
        for ((bits, key), detour) in &new {
            if self.written.get(&(*bits, *key)) != Some(detour) {
                self.detours
                    .insert(&Key::new(*bits, Shared(*key)), Shared(*detour), 0)?;
            }
        }
        self.written = new;
        Ok(())
    }

    /// How many detours there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.written.len()
    }

    /// The slot of an interface's session.
    fn slot(&self, interface: u32) -> Option<u32> {
        let transmit = self.interfaces.get(&interface, 0).ok()?;
        Some(transmit.0.slot())
    }
}

/// A map of a loaded data plane, from its pin.
pub(crate) fn map(pin_dir: &Path, name: &str) -> Result<MapData> {
    let layout = layout::MAPS.iter().find(|map| map.name == name);
    let layout = layout.with_context(|| format!("there is no map {name}"))?;
    let pin = pins::folder(pin_dir).join(pins::name(layout));
    MapData::from_pin(&pin).with_context(|| format!("cannot open {}", pin.display()))
}

/// Removing what is not there is no error.
fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}
