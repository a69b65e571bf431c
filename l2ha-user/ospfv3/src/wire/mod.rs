//! What is on the wire: a strict decoder with typed errors, and an encoder.
//!
//! All integers are big-endian on the wire and in host order here. Decoding never panics and never
//! uses a length field without checking it; `decode(encode(x)) == x` for everything in here.

mod body;
mod body_codec;
mod checksum;
mod codec;
mod exchange;
mod family;
mod grace;
mod hello;
mod ip;
mod lsa;
mod lsa_header;
mod lsa_type;
mod options;
#[cfg(test)]
mod oracle;
mod packet;
mod prefix;
#[cfg(test)]
mod proptests;
mod signalling;
mod text;
mod trailer;

pub use body::{
    AsExternal, InterAreaPrefix, InterAreaRouter, IntraAreaPrefix, LinkBody, LinkKind, LsaBody,
    Network, Router, RouterBits, RouterLink,
};
pub use checksum::{fletcher, fletcher_ok, pseudo_header_checksum};
pub use codec::{DecodeError, Decoded};
pub(crate) use codec::{Reader, Write};
pub use exchange::{DatabaseDescription, DdFlags};
pub use family::Family;
pub use grace::{Grace, GraceReason};
pub use hello::Hello;
pub use ip::{ALL_D_ROUTERS, ALL_SPF_ROUTERS, IPV6_HEADER_LEN, NEXT_HEADER};
pub use lsa::{BadLsa, Lsa};
pub use lsa_header::{
    INITIAL_SEQUENCE, LSA_HEADER_LEN, LsaHeader, LsaKey, MAX_AGE, MAX_AGE_DIFF, MAX_SEQUENCE,
};
pub use lsa_type::{LsaType, Scope};
pub use options::{Options, PrefixOptions};
pub use packet::{HEADER_LEN, Header, Packet, PacketBody, PacketType};
pub use prefix::{Prefix, PrefixEntry};
pub use signalling::{decode_accepted, encode_accepted};
pub use trailer::{Sections, TRAILER_FIXED_LEN, Trailer};
