//! Settings below /proc/sys/net, of this thread's network namespace.

use std::{fs, io, path::PathBuf};

use crate::link::Link;

/// Time between solicitations of a neighbour that does not answer, in milliseconds.
const RETRANSMIT: &str = "100";

/// A setting of an interface that is not as wanted.
struct Wrong {
    path: PathBuf,
    name: &'static str,
    wanted: &'static str,
}

impl Wrong {
    fn set(&self) -> io::Result<()> {
        fs::write(&self.path, self.wanted)
    }
}

/// Has the neighbours on a virtual interface solicited ten times a second instead of once: after a
/// repair the first solicitation may be lost, and the path is back long before a second has passed.
pub fn set_retransmit_time(link: &Link) -> io::Result<()> {
    slow_to_ask(&link.name)?.iter().try_for_each(Wrong::set)
}

fn slow_to_ask(interface: &str) -> io::Result<Vec<Wrong>> {
    let name = "retrans_time_ms";
    let mut wrong = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let path: PathBuf = ["/proc/sys/net", family, "neigh", interface, name]
            .iter()
            .collect();
        // An interface need not have a family.
        if read_if_there(&path)?.is_some_and(|present| present != RETRANSMIT) {
            wrong.push(Wrong {
                path,
                name,
                wanted: RETRANSMIT,
            });
        }
    }
    Ok(wrong)
}

/// Whether the settings of a virtual interface that [`set_retransmit_time`], [`take_nothing`], [`enable_ipv6`] and,
/// with `has_ipv4`, [`relax_source_validation`] set are as these leave them; also where they cannot be read. The kernel
/// notifies of the fewest.
pub fn all_hold(interface: &str, has_ipv4: Option<bool>) -> bool {
    let holds = |wrong: io::Result<Vec<Wrong>>| wrong.unwrap_or_default().is_empty();
    holds(slow_to_ask(interface))
        && holds(takes(interface))
        && holds(without_ipv6(interface))
        && has_ipv4.is_none_or(|has_ipv4| holds(validates(interface, has_ipv4)))
}

fn without_ipv6(interface: &str) -> io::Result<Vec<Wrong>> {
    let name = "disable_ipv6";
    let path: PathBuf = ["/proc/sys/net/ipv6/conf", interface, name]
        .iter()
        .collect();
    let is_off = read_if_there(&path)?.is_some_and(|present| present != "0");
    let wrong = Wrong {
        path,
        name,
        wanted: "0",
    };
    Ok(is_off.then_some(wrong).into_iter().collect())
}

/// Switches IPv6 on for an interface where it is off, as it is for new ones with `net.ipv6.conf.default.disable_ipv6`.
/// Returns whether that had to be changed; nothing where the kernel has no IPv6 for the interface at all.
///
/// # Errors
///
/// When it is off and cannot be switched on.
pub fn enable_ipv6(link: &Link) -> io::Result<Option<bool>> {
    let path: PathBuf = ["/proc/sys/net/ipv6/conf", &link.name, "disable_ipv6"]
        .iter()
        .collect();
    match read(&path) {
        Ok(off) if off == "0" => Ok(Some(false)),
        Ok(_) => fs::write(&path, "0").map(|()| Some(true)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an interface must not do by itself: take a default route, addresses, an MTU or a hop limit from Router
/// Advertisements (RFC 4861, RFC 4862), routes from ICMP redirects, neighbours from unasked ARP replies, and a route
/// from a packet's own list (net/ipv6/addrconf.c, Documentation/networking/ip-sysctl.rst).
///
/// The kernel of a host that does not forward IPv4 takes redirects also where the `accept_redirects` of `all` is on.
const NOTHING: [(&str, &str); 7] = [
    ("ipv6", "accept_ra"),
    ("ipv6", "autoconf"),
    ("ipv6", "accept_redirects"),
    ("ipv4", "accept_redirects"),
    ("ipv4", "accept_source_route"),
    ("ipv4", "arp_accept"),
    ("ipv4", "proxy_arp"),
];

/// Has a virtual interface take nothing by itself from what comes out of it. Returns what had to be changed.
///
/// # Errors
///
/// When a setting that is on cannot be switched off. One that this kernel does not have is no error.
pub fn take_nothing(link: &Link) -> io::Result<Vec<&'static str>> {
    let wrong = takes(&link.name)?;
    wrong.iter().try_for_each(Wrong::set)?;
    Ok(wrong.iter().map(|it| it.name).collect())
}

fn takes(interface: &str) -> io::Result<Vec<Wrong>> {
    let mut wrong = Vec::new();
    for (family, name) in NOTHING {
        let path: PathBuf = ["/proc/sys/net", family, "conf", interface, name]
            .iter()
            .collect();
        if read_if_there(&path)?.is_some_and(|present| present != "0") {
            let wanted = "0";
            wrong.push(Wrong { path, name, wanted });
        }
    }
    Ok(wrong)
}

/// The MTU of IPv6 on an interface, in bytes: what its packets through there are cut to, whatever the interface itself
/// would take. None where the interface has no IPv6.
pub fn ipv6_mtu(interface: &str) -> Option<u32> {
    read(&ipv6_mtu_path(interface)).ok()?.parse().ok()
}

/// Sets the MTU of IPv6 on an interface: from 1280 bytes up to what the interface takes. It holds at once, for
/// connections that are open too, and until the interface's own MTU is changed (`addrconf_notify` of
/// net/ipv6/addrconf.c).
///
/// # Errors
///
/// When the kernel does not take it; that the interface has no IPv6 is no error.
pub fn set_ipv6_mtu(interface: &str, mtu: u32) -> io::Result<()> {
    match fs::write(ipv6_mtu_path(interface), mtu.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        answer => answer,
    }
}

fn ipv6_mtu_path(interface: &str) -> PathBuf {
    ["/proc/sys/net/ipv6/conf", interface, "mtu"]
        .iter()
        .collect()
}

/// Path of an IPv4 setting of one interface, or of `all`.
fn ipv4_setting(interface: &str, name: &str) -> PathBuf {
    ["/proc/sys/net/ipv4/conf", interface, name]
        .iter()
        .collect()
}

fn read(path: &PathBuf) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

/// Nothing where this kernel has no such setting.
fn read_if_there(path: &PathBuf) -> io::Result<Option<String>> {
    match read(path) {
        Ok(present) => Ok(Some(present)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has a virtual interface accept IPv4 packets whatever the route back to their source is. Returns
/// whether that had to be changed.
///
/// Replies from an anycast address take the shortest path, which need not be the one that the request
/// came by; and another server's replies come from an address that this node has, too. The kernel
/// drops the former by reverse path filtering (rp_filter, RFC 3704) and the latter as martians
/// (accept_local); fib_validate_source() in net/ipv4/fib_frontend.c.
///
/// The greater of the interface's own rp_filter and that of `all` counts. Loose (2) is enough for an
/// interface with an IPv4 address. Without one, packets with another route back are dropped even then,
/// so only 0 helps.
pub fn relax_source_validation(link: &Link, has_ipv4: bool) -> io::Result<bool> {
    let wrong = validates(&link.name, has_ipv4)?;
    wrong.iter().try_for_each(Wrong::set)?;
    Ok(!wrong.is_empty())
}

fn validates(interface: &str, has_ipv4: bool) -> io::Result<Vec<Wrong>> {
    let name = "rp_filter";
    let path = ipv4_setting(interface, name);
    let all = read(&ipv4_setting("all", name))?;
    let wanted = match (has_ipv4, all.as_str()) {
        (false, "0") => "0",
        _ => "2",
    };
    let present = read(&path)?;
    let mut wrong = Vec::new();
    // A value that is loose enough stays as it is.
    if present != wanted && (present == "1" || all == "1" || !has_ipv4) {
        wrong.push(Wrong { path, name, wanted });
    }
    let name = "accept_local";
    let path = ipv4_setting(interface, name);
    if read(&path)? != "1" {
        let wanted = "1";
        wrong.push(Wrong { path, name, wanted });
    }
    Ok(wrong)
}
