//! IP addresses of the file, and which kinds of them make no sense where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::report::{Found, Report};

/// What an address is of, if it is of a kind that no host can be reached at.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        address if address.is_unspecified() => Some("the unspecified address"),
        address if address.is_loopback() => Some("a loopback address"),
        address if address.is_multicast() => Some("a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        IpAddr::V4(address) if address.octets()[0] == 0 => Some("an address of `this network`"),
        IpAddr::V4(address) if address.octets()[0] >= 240 => Some("a reserved address"),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
}

/// The IPv4 address that an IPv6 address stands for.
fn mapped(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    }
}

/// An address written as one, or with what people add to it by mistake.
enum Written {
    Good(IpAddr),
    Almost(IpAddr, &'static str),
    Not,
}

fn written(text: &str) -> Written {
    if let Ok(address) = text.parse() {
        return Written::Good(address);
    }
    let trimmed = text.trim();
    let bare = trimmed.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Written::Almost(address, "an address is written without brackets and blanks");
    }
    if let Ok(network) = bare.parse::<IpNet>() {
        return Written::Almost(
            network.addr(),
            "an address is written without prefix length here",
        );
    }
    if let Ok(socket) = trimmed.parse::<std::net::SocketAddr>() {
        return Written::Almost(socket.ip(), "an address is written without port here");
    }
    Written::Not
}

/// How a value is shown in a remedy: the key it belongs to, and whether in an array.
pub(crate) struct Shown<'a> {
    pub(crate) key: &'a str,
    /// Whether the value is an element of an array.
    pub(crate) array: bool,
    /// A good value, for want of one that can be derived.
    pub(crate) example: &'a str,
    /// Whose address it is.
    pub(crate) of: &'a str,
}

impl Shown<'_> {
    /// The remedy that writes this value.
    pub(crate) fn write(&self, value: impl std::fmt::Display) -> String {
        match self.array {
            true => format!("write `{} = [\"{value}\"]`", self.key),
            false => format!("write `{} = \"{value}\"`", self.key),
        }
    }

    fn write_example(&self) -> String {
        self.write(self.example)
    }
}

/// The address of a host on the underlay.
pub(crate) fn host(
    report: &Report,
    found: &Found<&str>,
    shown: &Shown<'_>,
) -> Option<Found<IpAddr>> {
    let address = match written(found.value) {
        Written::Good(address) => address,
        Written::Almost(address, why) => {
            report.error(
                &found.place,
                format!("`{}`: {why}", found.value),
                shown.write(address),
            );
            return None;
        }
        Written::Not => {
            let what = match found.value.contains('%') {
                true => format!(
                    "`{}`: addresses with an interface are not supported",
                    found.value
                ),
                false => format!("`{}` is not an IP address", found.value),
            };
            report.error(&found.place, what, shown.write_example());
            return None;
        }
    };
    if let Some(v4) = mapped(address) {
        report.error(
            &found.place,
            format!("`{address}` is IPv4 written as IPv6"),
            shown.write(v4),
        );
        return None;
    }
    if let Some(kind) = special(address) {
        report.error(
            &found.place,
            format!("`{address}` is {kind}; no host can be reached at it"),
            format!(
                "{}, with the address of {}",
                shown.write_example(),
                shown.of
            ),
        );
        return None;
    }
    Some(found.with(address))
}

/// The address of a service: of global scope.
pub(crate) fn service(report: &Report, found: &Found<&str>) -> Option<Found<IpAddr>> {
    let shown = Shown {
        key: "address",
        array: false,
        example: "2001:db8::80",
        of: "the service",
    };
    let address = host(report, found, &shown)?;
    if let IpAddr::V4(v4) = address.value
        && v4.is_link_local()
    {
        report.error(
            &found.place,
            format!("`{v4}` is a link-local address; no host elsewhere can reach it"),
            shown.write_example(),
        );
        return None;
    }
    Some(address)
}

/// An address with prefix length for a virtual interface.
pub(crate) fn interface(report: &Report, found: &Found<&str>) -> Option<Found<IpNet>> {
    let shown = Shown {
        key: "addresses",
        array: true,
        example: "fd00:1::1/64",
        of: "the interface",
    };
    let Ok(network) = found.value.trim().parse::<IpNet>() else {
        let (what, remedy) = match found.value.trim().parse::<IpAddr>() {
            Ok(address) => (
                format!("`{address}` lacks its prefix length"),
                shown.write(format_args!("{address}/{}", usual_length(address))),
            ),
            Err(_) => (
                format!("`{}` is not an address with prefix length", found.value),
                shown.write_example(),
            ),
        };
        report.error(&found.place, what, remedy);
        return None;
    };
    let address = network.addr();
    if let Some(v4) = mapped(address) {
        let length = network.prefix_len().saturating_sub(96);
        report.error(
            &found.place,
            format!("`{network}` is IPv4 written as IPv6"),
            shown.write(format_args!("{v4}/{length}")),
        );
        return None;
    }
    if let IpAddr::V6(address) = address
        && address.is_unicast_link_local()
    {
        report.error(
            &found.place,
            format!("`{network}` is link-local; l2ha makes the link-local address itself"),
            format!("remove it, or {}", shown.write_example()),
        );
        return None;
    }
    if let Some(kind) = special(address) {
        report.error(
            &found.place,
            format!("`{network}` is {kind}; an interface cannot have it"),
            shown.write_example(),
        );
        return None;
    }
    if network.prefix_len() == 0 {
        report.error(
            &found.place,
            format!("`{network}` says that every address is on this link"),
            shown.write(format_args!("{address}/{}", usual_length(address))),
        );
        return None;
    }
    if let Some(host) = first_host(network) {
        report.error(
            &found.place,
            format!("`{network}` is the network, not an address in it"),
            shown.write(host),
        );
        return None;
    }
    if let IpNet::V4(v4) = network
        && v4.prefix_len() < 31
        && v4.addr() == v4.broadcast()
    {
        report.error(
            &found.place,
            format!("`{network}` is the network's broadcast address"),
            shown.write(format_args!(
                "{}/{}",
                Ipv4Addr::from_bits(v4.addr().to_bits() - 1),
                v4.prefix_len()
            )),
        );
        return None;
    }
    Some(found.with(network))
}

/// The first host's address where the network's own was written.
fn first_host(network: IpNet) -> Option<IpNet> {
    let point_to_point = network.max_prefix_len() - 1;
    if network.prefix_len() >= point_to_point || network.addr() != network.network() {
        return None;
    }
    let first: IpAddr = match network.addr() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() + 1).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() + 1).into(),
    };
    IpNet::new(first, network.prefix_len()).ok()
}

fn usual_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 24,
        IpAddr::V6(_) => 64,
    }
}

/// An area as `area` says it.
pub(crate) fn area(report: &Report, found: &Found<&str>) -> Option<Ipv4Addr> {
    let area = found.value.trim().parse().ok();
    if area.is_none() {
        let good = dotted(found.value).unwrap_or("0.0.0.0".to_owned());
        report.error(
            &found.place,
            format!("`{}` is not four numbers with dots", found.value),
            format!("write `area = \"{good}\"`"),
        );
    }
    area
}

/// Other routers also take these ids as one number.
pub(crate) fn dotted(number: &str) -> Option<String> {
    let number: u32 = number.trim().parse().ok()?;
    Some(Ipv4Addr::from_bits(number).to_string())
}
