//! Settings below /proc/sys/net, of this thread's network namespace.

use std::{fs, io, path::PathBuf};

use crate::link::Link;

/// Time between solicitations of a neighbour that does not answer, in milliseconds.
pub(crate) const RETRANSMIT: &str = "100";
/// Where rp_filter and accept_local are among the settings that rtnetlink tells.
pub(crate) const RP_FILTER: usize = 7;
pub(crate) const ACCEPT_LOCAL: usize = 22;

/// The family that a setting is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    /// The folder of its settings.
    fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// A setting of each interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) family: Family,
    pub(crate) name: &'static str,
    /// Where rtnetlink has it: `IPV4_DEVCONF_*` of linux/ip.h less 1, or `DEVCONF_*` of linux/ipv6.h.
    pub(crate) place: usize,
}

impl Setting {
    const fn of(family: Family, name: &'static str, place: usize) -> Self {
        Self {
            family,
            name,
            place,
        }
    }

    /// Its file.
    pub(crate) fn path(&self, interface: &str) -> PathBuf {
        let family = self.family.name();
        ["/proc/sys/net", family, "conf", interface, self.name]
            .iter()
            .collect()
    }
}

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
    let mut wrong = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let path = retransmit_path(family, interface);
        let name = RETRANSMIT_FILE;
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

const RETRANSMIT_FILE: &str = "retrans_time_ms";

fn retransmit_path(family: Family, interface: &str) -> PathBuf {
    let family = family.name();
    ["/proc/sys/net", family, "neigh", interface, RETRANSMIT_FILE]
        .iter()
        .collect()
}

/// Whether neighbours of a family are asked as often as [`set_retransmit_time`] says; also where that cannot be read.
pub(crate) fn asks_soon(family: Family, interface: &str) -> bool {
    let present = read(&retransmit_path(family, interface));
    present.map_or(true, |it| it == RETRANSMIT)
}

/// Switches IPv6 on for an interface where it is off, as it is for new ones with `net.ipv6.conf.default.disable_ipv6`.
/// Returns whether that had to be changed; nothing where the kernel has no IPv6 for the interface at all.
///
/// # Errors
///
/// When it is off and cannot be switched on.
pub fn enable_ipv6(link: &Link) -> io::Result<Option<bool>> {
    let path = DISABLE_IPV6.path(&link.name);
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
pub(crate) const NOTHING: [Setting; 7] = [
    Setting::of(Family::Ipv6, "accept_ra", 3),
    Setting::of(Family::Ipv6, "autoconf", 5),
    Setting::of(Family::Ipv6, "accept_redirects", 4),
    Setting::of(Family::Ipv4, "accept_redirects", 3),
    Setting::of(Family::Ipv4, "accept_source_route", 8),
    Setting::of(Family::Ipv4, "arp_accept", 20),
    Setting::of(Family::Ipv4, "proxy_arp", 2),
];

/// What switches IPv6 off.
pub(crate) const DISABLE_IPV6: Setting = Setting::of(Family::Ipv6, "disable_ipv6", 26);

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
    for setting in NOTHING {
        let path = setting.path(interface);
        if read_if_there(&path)?.is_some_and(|present| present != "0") {
            let (name, wanted) = (setting.name, "0");
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
    let present = read(&path)?;
    let mut wrong = Vec::new();
    if let Some(wanted) = loosened(&present, &all, has_ipv4) {
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

/// What an interface's rp_filter has to be instead, if it is too strict beside that of `all`.
pub(crate) fn loosened(present: &str, all: &str, has_ipv4: bool) -> Option<&'static str> {
    let wanted = match (has_ipv4, all) {
        (false, "0") => "0",
        _ => "2",
    };
    // A value that is loose enough stays as it is.
    let strict = present == "1" || all == "1" || !has_ipv4;
    (present != wanted && strict).then_some(wanted)
}

/// The rp_filter of `all`, where there is one.
pub(crate) fn rp_filter_of_all() -> Option<String> {
    read(&ipv4_setting("all", "rp_filter")).ok()
}
