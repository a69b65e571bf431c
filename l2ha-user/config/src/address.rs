//! IP addresses of the file, and which kinds of them make no sense where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use crate::{
    report::{Found, Report},
    section::Section,
};

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

/// Whether a host on the underlay can have the address.
pub(crate) fn is_host(address: IpAddr) -> bool {
    mapped(address).is_none() && special(address).is_none()
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

    /// The remedy that writes this address, or an example where no host can have it.
    fn write_near(&self, address: IpAddr) -> String {
        let address = mapped(address).map_or(address, IpAddr::V4);
        match is_host(address) {
            true => self.write(address),
            false => self.write_example(),
        }
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
            let remedy = shown.write_near(address);
            report.error(&found.place, format!("`{}`: {why}", found.value), remedy);
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
            shown.write_near(v4.into()),
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
    global(report, found, &shown)
}

/// An address that hosts elsewhere can reach.
pub(crate) fn global(
    report: &Report,
    found: &Found<&str>,
    shown: &Shown<'_>,
) -> Option<Found<IpAddr>> {
    let address = host(report, found, shown)?;
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
    let text = found.value.trim();
    let wrong = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(network), _) => match on_interface(network) {
            Ok(()) => return Some(found.with(network)),
            Err(wrong) => wrong,
        },
        (Err(_), Ok(address)) => Wrong {
            what: format!("`{address}` lacks its prefix length"),
            near: IpNet::new(address, usual_length(address)).ok(),
        },
        (Err(_), Err(_)) => Wrong {
            what: format!("`{}` is not an address with prefix length", found.value),
            near: None,
        },
    };
    let remedy = match wrong.near.and_then(nearest) {
        Some(good) => shown.write(good),
        None => shown.write_example(),
    };
    let is_link_local = |text: &str| {
        let network = text.parse::<Ipv6Net>();
        network.is_ok_and(|network| network.addr().is_unicast_link_local())
    };
    let remedy = match is_link_local(text) {
        true => format!("remove it, or {remedy}"),
        false => remedy,
    };
    report.error(&found.place, wrong.what, remedy);
    None
}

/// Whether it is an address with prefix length that a virtual interface can have.
pub(crate) fn is_interface(text: &str) -> bool {
    let network = text.parse::<IpNet>();
    network.is_ok_and(|network| on_interface(network).is_ok())
}

/// What is wrong with an address of an interface.
struct Wrong {
    what: String,
    /// What was probably meant; it may be wrong in another way.
    near: Option<IpNet>,
}

/// Mends one after another what is wrong with an address, if it can be.
fn nearest(mut network: IpNet) -> Option<IpNet> {
    while let Err(wrong) = on_interface(network) {
        network = wrong.near?;
    }
    Some(network)
}

/// Whether an interface can have this address. Each mistake leads to one that is checked later, so that mending
/// them comes to an end.
fn on_interface(network: IpNet) -> Result<(), Wrong> {
    let address = network.addr();
    let wrong = |what: String, near| Err(Wrong { what, near });
    if let Some(v4) = mapped(address) {
        let length = network.prefix_len().saturating_sub(96);
        let near = IpNet::new(v4.into(), length).ok();
        return wrong(format!("`{network}` is IPv4 written as IPv6"), near);
    }
    if let IpAddr::V6(address) = address
        && address.is_unicast_link_local()
    {
        let what = format!("`{network}` is link-local; l2ha makes the link-local address itself");
        return wrong(what, None);
    }
    if let Some(kind) = special(address) {
        let what = format!("`{network}` is {kind}; an interface cannot have it");
        return wrong(what, None);
    }
    if network.prefix_len() == 0 {
        let near = IpNet::new(address, usual_length(address)).ok();
        let what = format!("`{network}` says that every address is on this link");
        return wrong(what, near);
    }
    if let Some(host) = first_host(network) {
        let what = format!("`{network}` is the network, not an address in it");
        return wrong(what, Some(host));
    }
    if let IpNet::V4(v4) = network
        && v4.prefix_len() < 31
        && v4.addr() == v4.broadcast()
    {
        let before = Ipv4Addr::from_bits(v4.addr().to_bits() - 1);
        let near = IpNet::new(before.into(), v4.prefix_len()).ok();
        let what = format!("`{network}` is the network's broadcast address");
        return wrong(what, near);
    }
    Ok(())
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

/// An area as `area` says it; `meant` corrects what is written otherwise.
pub(crate) fn area(
    section: &Section<'_>,
    found: &Found<&str>,
    meant: impl Fn(&str) -> Option<String>,
) -> Option<Ipv4Addr> {
    let area = found.value.trim().parse().ok();
    if area.is_none() {
        let good = meant(found.value).map(|good| format!("\"{good}\""));
        let good = good.unwrap_or_else(|| section.example("area").to_owned());
        section.report.error(
            &found.place,
            format!("`{}` is not four numbers with dots", found.value),
            format!("write `area = {good}`"),
        );
    }
    area
}

/// Other routers also take these ids as one number.
pub(crate) fn dotted(number: &str) -> Option<String> {
    let number: u32 = number.trim().parse().ok()?;
    Some(Ipv4Addr::from_bits(number).to_string())
}
