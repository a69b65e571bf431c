//! What the layout of a map is, as a number that changes with it.
//!
//! Maps outlive the daemon. A daemon takes over those whose number is its own, and makes and fills
//! the others anew. The numbers come from names, offsets and sizes of all fields, so nobody has to
//! remember to raise a version; only a change of *meaning* that moves no field has to be told, in
//! [`MEANING`].

use super::{
    Detour, DetourKey, EndpointKey, FRAMES_BYTES, MAX_BY_SESSION, MAX_DETOURS, MAX_ENDPOINTS,
    MAX_INTERFACES, MAX_REASONS, MAX_ROWS, MAX_SESSIONS, Missing, Numbers, REFUSED_BYTES, Receive,
    Record, SessionId, SessionReason, SessionValue, Traffic, Transmit, Watch,
};

/// To be raised when a field means something else than before and is still in its place.
const MEANING: u32 = 1;

/// A map that outlives the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLayout {
    /// Its name in the object.
    pub name: &'static str,
    /// The number of its layout.
    pub version: u32,
}

/// All of them.
pub const MAPS: [MapLayout; 16] = [
    MapLayout {
        name: "SESSIONS",
        version: map(MAX_SESSIONS, SessionId::LAYOUT, SessionValue::LAYOUT),
    },
    MapLayout {
        name: "ROWS",
        version: map(MAX_ROWS, size_of::<u32>() as u32, Receive::LAYOUT),
    },
    MapLayout {
        name: "ENDPOINTS",
        version: map(MAX_ENDPOINTS, EndpointKey::LAYOUT, size_of::<u32>() as u32),
    },
    MapLayout {
        name: "INTERFACES",
        version: map(MAX_INTERFACES, size_of::<u32>() as u32, Transmit::LAYOUT),
    },
    MapLayout {
        name: "REASONS",
        version: map(MAX_REASONS, 4, size_of::<u64>() as u32),
    },
    MapLayout {
        name: "BY_SESSION",
        version: map(MAX_BY_SESSION, SessionReason::LAYOUT, 8),
    },
    MapLayout {
        name: "TRAFFIC",
        version: map(MAX_SESSIONS, 4, Traffic::LAYOUT),
    },
    MapLayout {
        name: "HEARD",
        version: map(MAX_SESSIONS, 4, size_of::<u64>() as u32),
    },
    MapLayout {
        name: "PATIENCE",
        version: map(MAX_SESSIONS, 4, size_of::<u64>() as u32),
    },
    MapLayout {
        name: "NUMBERS",
        version: map(MAX_SESSIONS, 4, Numbers::LAYOUT),
    },
    MapLayout {
        name: "DETOURS",
        version: map(MAX_DETOURS, DetourKey::LAYOUT, Detour::LAYOUT),
    },
    MapLayout {
        name: "WATCH",
        version: map(1, 4, Watch::LAYOUT),
    },
    MapLayout {
        name: "CHOSEN",
        version: map(MAX_SESSIONS, 4, size_of::<u32>() as u32),
    },
    MapLayout {
        name: "REFUSED",
        version: map(REFUSED_BYTES, 0, Record::LAYOUT),
    },
    MapLayout {
        name: "FRAMES",
        version: map(FRAMES_BYTES, 0, Record::LAYOUT),
    },
    MapLayout {
        name: "MISSING",
        version: map(Missing::COUNT, 4, size_of::<u64>() as u32),
    },
];

/// The number of all of them together: the name of the folder they are pinned in.
pub const LAYOUT: u32 = {
    let mut hash = START;
    let mut at = 0;
    while at < MAPS.len() {
        hash = text(hash, MAPS[at].name);
        hash = number(hash, MAPS[at].version);
        at += 1;
    }
    hash
};

/// FNV-1a's offset basis.
pub(super) const START: u32 = 0x811c_9dc5;

const fn map(entries: u32, key: u32, value: u32) -> u32 {
    let mut hash = number(START, MEANING);
    hash = number(hash, entries);
    hash = number(hash, key);
    number(hash, value)
}

const fn byte(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

/// Takes a number in.
pub(super) const fn number(hash: u32, number: u32) -> u32 {
    let bytes = number.to_le_bytes();
    let mut hash = hash;
    let mut at = 0;
    while at < bytes.len() {
        hash = byte(hash, bytes[at]);
        at += 1;
    }
    hash
}

/// Takes a text in.
pub(super) const fn text(hash: u32, text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut hash = hash;
    let mut at = 0;
    while at < bytes.len() {
        hash = byte(hash, bytes[at]);
        at += 1;
    }
    byte(hash, 0)
}

/// Gives a type the number of its layout; does not compile while a field is missing in the list.
macro_rules! layout {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $type {
            /// The number of its layout.
            pub(crate) const LAYOUT: u32 = {
                const fn _complete(value: &$type) {
                    let $type { $($field: _),* } = value;
                }
                let mut hash = $crate::abi::layout::number(
                    $crate::abi::layout::START,
                    size_of::<$type>() as u32,
                );
                $(
                    hash = $crate::abi::layout::text(hash, stringify!($field));
                    hash = $crate::abi::layout::number(
                        hash,
                        core::mem::offset_of!($type, $field) as u32,
                    );
                )*
                hash
            };
        }
    };
}
pub(crate) use layout;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_moves_or_is_renamed_changes_the_number() {
        mod one {
            #[repr(C)]
            pub(super) struct Value {
                a: u32,
                b: u32,
            }
            layout!(Value { a, b });
        }
        mod swapped {
            #[repr(C)]
            pub(super) struct Value {
                b: u32,
                a: u32,
            }
            layout!(Value { a, b });
        }
        mod renamed {
            #[repr(C)]
            pub(super) struct Value {
                a: u32,
                c: u32,
            }
            layout!(Value { a, c });
        }
        assert_ne!(one::Value::LAYOUT, swapped::Value::LAYOUT);
        assert_ne!(one::Value::LAYOUT, renamed::Value::LAYOUT);
        assert_ne!(map(1, 2, 3), map(1, 3, 2));
    }

    #[test]
    fn no_two_maps_have_one_name() {
        let (mut seen, names) = (0, MAPS.map(|map| map.name));
        for name in names {
            seen += names.iter().filter(|other| **other == name).count();
        }
        assert_eq!(seen, MAPS.len(), "two maps of one name");
    }
}
