//! Encoding and decoding of the LSA bodies, RFC 5340 A.4.3 to A.4.10.

use super::{
    AsExternal, Decoded, Family, Grace, InterAreaPrefix, InterAreaRouter, IntraAreaPrefix,
    LinkBody, LinkKind, LsaBody, LsaType, Network, Options, Prefix, PrefixEntry, PrefixOptions,
    Reader, Router, RouterBits, RouterLink, Write,
};

impl LsaBody {
    pub(crate) fn decode(family: Family, ty: LsaType, r: &mut Reader<'_>) -> Decoded<Self> {
        Ok(match ty {
            LsaType::ROUTER => Self::Router(Router::decode(r)?),
            LsaType::NETWORK => Self::Network(Network::decode(r)?),
            LsaType::INTER_AREA_PREFIX => {
                Self::InterAreaPrefix(InterAreaPrefix::decode(family, r)?)
            }
            LsaType::INTER_AREA_ROUTER => Self::InterAreaRouter(InterAreaRouter::decode(r)?),
            LsaType::AS_EXTERNAL => Self::AsExternal(AsExternal::decode(family, r)?),
            LsaType::LINK => Self::Link(LinkBody::decode(family, r)?),
            LsaType::INTRA_AREA_PREFIX => {
                Self::IntraAreaPrefix(IntraAreaPrefix::decode(family, r)?)
            }
            LsaType::GRACE => Self::Grace(Grace::decode(r)?),
            _ => Self::Unknown(r.take(r.remaining())?.to_vec()),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Router(body) => body.encode(out),
            Self::Network(body) => body.encode(out),
            Self::InterAreaPrefix(body) => body.encode(out),
            Self::InterAreaRouter(body) => body.encode(out),
            Self::AsExternal(body) => body.encode(out),
            Self::Link(body) => body.encode(out),
            Self::IntraAreaPrefix(body) => body.encode(out),
            Self::Grace(body) => body.encode(out),
            Self::Unknown(bytes) => out.put(bytes),
        }
    }
}

impl Router {
    const V: u8 = 4;
    const E: u8 = 2;
    const B: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        let bit = |set, bit| if set { bit } else { 0 };
        out.put_u8(
            bit(self.bits.virtual_link, Self::V)
                | bit(self.bits.external, Self::E)
                | bit(self.bits.border, Self::B),
        );
        out.put_u24(self.options.bits());
        for link in &self.links {
            out.put_u8(link.kind.code());
            out.put_u8(0);
            out.put_u16(link.metric);
            out.put_u32(link.interface_id);
            out.put_u32(link.neighbor_interface_id);
            out.put(&link.neighbor_router_id.octets());
        }
    }

    fn decode(r: &mut Reader<'_>) -> Decoded<Self> {
        let bits = r.u8()?;
        let bits = RouterBits {
            virtual_link: bits & Self::V != 0,
            external: bits & Self::E != 0,
            border: bits & Self::B != 0,
        };
        let options = Options::from_bits(r.u24()?);
        let mut links = Vec::with_capacity(r.remaining() / RouterLink::LEN);
        while r.remaining() > 0 {
            let kind = LinkKind::from_code(r.u8()?);
            r.u8()?;
            links.push(RouterLink {
                kind,
                metric: r.u16()?,
                interface_id: r.u32()?,
                neighbor_interface_id: r.u32()?,
                neighbor_router_id: r.ipv4()?,
            });
        }
        Ok(Self {
            bits,
            options,
            links,
        })
    }
}

impl Network {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(0);
        out.put_u24(self.options.bits());
        for router in &self.attached {
            out.put(&router.octets());
        }
    }

    fn decode(r: &mut Reader<'_>) -> Decoded<Self> {
        r.u8()?;
        let options = Options::from_bits(r.u24()?);
        let mut attached = Vec::with_capacity(r.remaining() / 4);
        while r.remaining() > 0 {
            attached.push(r.ipv4()?);
        }
        Ok(Self { options, attached })
    }
}

impl InterAreaPrefix {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(0);
        out.put_u24(self.metric);
        PrefixEntry {
            prefix: self.prefix,
            options: self.options,
            metric: 0,
        }
        .encode(out);
    }

    fn decode(family: Family, r: &mut Reader<'_>) -> Decoded<Self> {
        r.u8()?;
        let metric = r.u24()?;
        let entry = PrefixEntry::decode(family, r)?;
        Ok(Self {
            metric,
            prefix: entry.prefix,
            options: entry.options,
        })
    }
}

impl InterAreaRouter {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(0);
        out.put_u24(self.options.bits());
        out.put_u8(0);
        out.put_u24(self.metric);
        out.put(&self.destination.octets());
    }

    fn decode(r: &mut Reader<'_>) -> Decoded<Self> {
        r.u8()?;
        let options = Options::from_bits(r.u24()?);
        r.u8()?;
        Ok(Self {
            options,
            metric: r.u24()?,
            destination: r.ipv4()?,
        })
    }
}

impl AsExternal {
    const E: u8 = 4;
    const F: u8 = 2;
    const T: u8 = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        let bit = |set, bit| if set { bit } else { 0 };
        out.put_u8(
            bit(self.type2, Self::E)
                | bit(self.forwarding.is_some(), Self::F)
                | bit(self.tag.is_some(), Self::T),
        );
        out.put_u24(self.metric);
        out.put_u8(self.prefix.len());
        out.put_u8(self.options.bits());
        out.put_u16(self.referenced.map_or(0, |(ty, _)| ty.0));
        self.prefix.encode_addr(out);
        if let Some(address) = self.forwarding {
            Family::encode(address, out);
        }
        if let Some(tag) = self.tag {
            out.put_u32(tag);
        }
        if let Some((_, id)) = self.referenced {
            out.put_u32(id);
        }
    }

    fn decode(family: Family, r: &mut Reader<'_>) -> Decoded<Self> {
        let bits = r.u8()?;
        let metric = r.u24()?;
        let len = r.u8()?;
        let options = PrefixOptions::from_bits(r.u8()?);
        let referenced_type = r.u16()?;
        let prefix = Prefix::decode_addr(family, len, r)?;
        let forwarding = if bits & Self::F != 0 {
            Some(family.decode(r)?)
        } else {
            None
        };
        let tag = if bits & Self::T != 0 {
            Some(r.u32()?)
        } else {
            None
        };
        let referenced = match referenced_type {
            0 => None,
            ty => Some((LsaType(ty), r.u32()?)),
        };
        let type2 = bits & Self::E != 0;
        Ok(Self {
            type2,
            metric,
            prefix,
            options,
            forwarding,
            tag,
            referenced,
        })
    }
}

impl LinkBody {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.priority);
        out.put_u24(self.options.bits());
        Family::encode(self.link_local, out);
        out.put_u32(u32::try_from(self.prefixes.len()).unwrap_or(u32::MAX));
        for prefix in &self.prefixes {
            prefix.encode(out);
        }
    }

    fn decode(family: Family, r: &mut Reader<'_>) -> Decoded<Self> {
        let priority = r.u8()?;
        let options = Options::from_bits(r.u24()?);
        let link_local = family.decode(r)?;
        let count = r.u32()?;
        let prefixes = decode_prefixes(family, count, r)?;
        Ok(Self {
            priority,
            options,
            link_local,
            prefixes,
        })
    }
}

impl IntraAreaPrefix {
    /// Bytes before the prefixes.
    pub(crate) const FIXED_LEN: usize = 12;

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(u16::try_from(self.prefixes.len()).unwrap_or(u16::MAX));
        out.put_u16(self.referenced_type.0);
        out.put_u32(self.referenced_id);
        out.put(&self.referenced_router.octets());
        for prefix in &self.prefixes {
            prefix.encode(out);
        }
    }

    fn decode(family: Family, r: &mut Reader<'_>) -> Decoded<Self> {
        let count = r.u16()?;
        let referenced_type = LsaType(r.u16()?);
        let referenced_id = r.u32()?;
        let referenced_router = r.ipv4()?;
        let prefixes = decode_prefixes(family, u32::from(count), r)?;
        Ok(Self {
            referenced_type,
            referenced_id,
            referenced_router,
            prefixes,
        })
    }
}

/// The count is the sender's word; memory is only taken for what is really there.
fn decode_prefixes(family: Family, count: u32, r: &mut Reader<'_>) -> Decoded<Vec<PrefixEntry>> {
    let mut prefixes = Vec::new();
    for _ in 0..count {
        prefixes.push(PrefixEntry::decode(family, r)?);
    }
    Ok(prefixes)
}
