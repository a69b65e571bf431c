//! The settings of many interfaces at once, as rtnetlink tells them: to read each one's files below /proc takes
//! some seven times as long.

use std::io;

use rtnetlink::{packet_core::NetlinkHeader, sys::protocols::NETLINK_ROUTE};

use crate::{
    blocking::{Connection, Request, attribute, links},
    sysctl::{self, Family},
};

/// linux/if_link.h, linux/socket.h.
const IFLA_AF_SPEC: u16 = 26;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
const IFLA_INET6_CACHEINFO: u16 = 5;
/// Where `retrans_time` is in `struct ifla_cacheinfo`, in words of 4 bytes.
const RETRANSMIT: usize = 3;
/// Length of `struct ifinfomsg` in bytes.
const HEADER: usize = 16;
/// Interfaces asked for at once: the kernel's answers, below 2 KiB each, fit in a socket's receive buffer.
const AT_ONCE: usize = 32;

/// An interface, and what its settings shall be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its index.
    pub interface: u32,
    /// Its name.
    pub name: &'a str,
    /// Whether it has IPv4 addresses, if IPv4 is routed over it.
    pub has_ipv4: Option<bool>,
}

/// Whether the settings of virtual interfaces that [`sysctl::set_retransmit_time`], [`sysctl::take_nothing`],
/// [`sysctl::enable_ipv6`] and, with `has_ipv4`, [`sysctl::relax_source_validation`] set are as these leave them. The
/// kernel notifies of the fewest. `None` where it does not tell, because the interface is gone for instance.
///
/// # Errors
///
/// When the kernel cannot be asked.
pub fn hold(wanted: &[Wanted<'_>]) -> io::Result<Vec<Option<bool>>> {
    let all_rp_filter = sysctl::rp_filter_of_all();
    let mut hold = Vec::with_capacity(wanted.len());
    let mut connection = Connection::open(NETLINK_ROUTE)?;
    for part in wanted.chunks(AT_ONCE) {
        let requests: Vec<Request> = part.iter().map(|it| links(it.interface, 0)).collect();
        let mut settings: Vec<Settings> = Vec::with_capacity(part.len());
        let take = |_: &NetlinkHeader, body: &[u8]| {
            settings.extend(Settings::read(body));
            Ok(())
        };
        connection.carry_out(&requests, take)?;
        hold.extend(part.iter().map(|wanted| {
            let found = settings
                .iter()
                .find(|it| it.interface == wanted.interface)?;
            let retransmits = || sysctl::asks_soon(Family::Ipv4, wanted.name);
            Some(found.hold(wanted.has_ipv4, all_rp_filter.as_deref()) && retransmits())
        }));
    }
    Ok(hold)
}

/// What the kernel says of an interface; a family that it does not have is empty.
#[derive(Debug, Default)]
struct Settings {
    interface: u32,
    ipv4: Vec<i32>,
    ipv6: Vec<i32>,
    /// Time between solicitations of an IPv6 neighbour, in milliseconds.
    retransmit: Option<i32>,
}

impl Settings {
    /// Reads an answer (`RTM_NEWLINK`).
    fn read(body: &[u8]) -> Option<Self> {
        let interface: [u8; 4] = body.get(4..8)?.try_into().ok()?;
        let families = attribute(body.get(HEADER..)?, IFLA_AF_SPEC)?;
        let inet6 = attribute(families, AF_INET6);
        let of = |family: Option<&[u8]>, kind| family.and_then(|it| attribute(it, kind)).map(words);
        let times = of(inet6, IFLA_INET6_CACHEINFO);
        Some(Self {
            interface: u32::from_ne_bytes(interface),
            ipv4: of(attribute(families, AF_INET), IFLA_INET_CONF).unwrap_or_default(),
            ipv6: of(inet6, IFLA_INET6_CONF).unwrap_or_default(),
            retransmit: times.and_then(|it| it.get(RETRANSMIT).copied()),
        })
    }

    /// What is not told is as wanted, as where this kernel has no such setting.
    fn hold(&self, has_ipv4: Option<bool>, all_rp_filter: Option<&str>) -> bool {
        let of = |family: Family, place: usize| match family {
            Family::Ipv4 => self.ipv4.get(place).copied(),
            Family::Ipv6 => self.ipv6.get(place).copied(),
        };
        let is_off = |family, place| of(family, place).is_none_or(|value| value == 0);
        let mut nothing = sysctl::NOTHING.iter().chain([&sysctl::DISABLE_IPV6]);
        let takes_nothing = nothing.all(|it| is_off(it.family, it.place));
        let asks = self.retransmit.map(|it| it.to_string());
        let validates = has_ipv4.is_some_and(|has_ipv4| {
            let value = |place| of(Family::Ipv4, place).map(|it| it.to_string());
            let strict = |(present, all): (String, &str)| {
                sysctl::loosened(&present, all, has_ipv4).is_some()
            };
            value(sysctl::RP_FILTER)
                .zip(all_rp_filter)
                .is_some_and(strict)
                || value(sysctl::ACCEPT_LOCAL).is_some_and(|it| it != "1")
        });
        takes_nothing && asks.is_none_or(|it| it == sysctl::RETRANSMIT) && !validates
    }
}

/// An array of numbers in the host's byte order.
fn words(bytes: &[u8]) -> Vec<i32> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|it| i32::from_ne_bytes(*it)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::blocking::append;

    fn settings() -> Settings {
        let mut ipv4 = vec![0; 33];
        ipv4[sysctl::ACCEPT_LOCAL] = 1;
        Settings {
            interface: 7,
            ipv4,
            ipv6: vec![0; 58],
            retransmit: Some(100),
        }
    }

    #[test]
    fn each_setting_that_is_not_as_wanted_is_found() {
        assert!(settings().hold(Some(false), Some("0")));
        for setting in sysctl::NOTHING.iter().chain([&sysctl::DISABLE_IPV6]) {
            let mut settings = settings();
            match setting.family {
                Family::Ipv4 => settings.ipv4[setting.place] = 1,
                Family::Ipv6 => settings.ipv6[setting.place] = 1,
            }
            assert!(!settings.hold(None, None), "{setting:?}");
        }
        let mut slow = settings();
        slow.retransmit = Some(1000);
        assert!(!slow.hold(None, None));
        let mut martians = settings();
        martians.ipv4[sysctl::ACCEPT_LOCAL] = 0;
        assert!(martians.hold(None, Some("0")));
        assert!(!martians.hold(Some(true), Some("0")));
        assert!(!settings().hold(Some(true), Some("1")));
        // A host without one of the families.
        assert!(Settings::default().hold(Some(true), None));
    }

    #[test]
    fn no_length_in_an_answer_is_believed() {
        let mut inet6 = Vec::new();
        append(&mut inet6, IFLA_INET6_CONF, &[1; 9]);
        append(&mut inet6, IFLA_INET6_CACHEINFO, &[0; 7]);
        let mut families = Vec::new();
        append(&mut families, AF_INET6, &inet6);
        let mut answer = vec![0; HEADER];
        append(&mut answer, IFLA_AF_SPEC, &families);
        let read = Settings::read(&answer).unwrap();
        assert_eq!((read.ipv6.len(), read.retransmit), (2, None));
        for length in 0..answer.len() {
            let _ = Settings::read(&answer[..length]);
        }
    }

    /// The places are those of this kernel.
    #[test]
    fn the_kernel_tells_what_its_files_say() {
        let mut settings = None;
        let mut connection = Connection::open(NETLINK_ROUTE).unwrap();
        let take = |_: &NetlinkHeader, body: &[u8]| {
            settings = Settings::read(body);
            Ok(())
        };
        connection.ask(links(1, 0), take).unwrap();
        let settings = settings.unwrap();
        assert_eq!(settings.interface, 1);
        let rp_filter = sysctl::Setting {
            family: Family::Ipv4,
            name: "rp_filter",
            place: sysctl::RP_FILTER,
        };
        let accept_local = sysctl::Setting {
            family: Family::Ipv4,
            name: "accept_local",
            place: sysctl::ACCEPT_LOCAL,
        };
        let all =
            sysctl::NOTHING
                .into_iter()
                .chain([sysctl::DISABLE_IPV6, rp_filter, accept_local]);
        for setting in all {
            let Ok(file) = fs::read_to_string(setting.path("lo")) else {
                continue;
            };
            let told = match setting.family {
                Family::Ipv4 => &settings.ipv4,
                Family::Ipv6 => &settings.ipv6,
            };
            assert_eq!(told[setting.place].to_string(), file.trim(), "{setting:?}");
        }
    }
}
