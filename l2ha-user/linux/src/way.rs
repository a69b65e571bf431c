//! To which neighbour on an interface packets for an address go, whatever routes lead out of other interfaces.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures_util::TryStreamExt as _;
use rtnetlink::{
    IpVersion,
    packet_core::NetlinkDeserializable as _,
    packet_route::{
        RouteNetlinkMessage,
        route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType},
        rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
    },
    sys::protocols::NETLINK_ROUTE,
};

use crate::{
    blocking::{Connection, Request},
    gateway::lookup,
    netlink::{Asked as _, Error, Netlink},
    route::{KernelRoute, Nexthop},
};

/// Look-ups sent at once: the kernel's answers fit in a socket's receive buffer.
const MAX_REQUESTS: usize = 64;
/// Interface that packets of the host itself come in by, as rules see it.
const LOOPBACK: &str = "lo";

/// Where packets come from and go to; both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Source address.
    pub local: IpAddr,
    /// Destination address.
    pub remote: IpAddr,
}

impl Netlink {
    /// The neighbour on an interface, given by index and name, that packets go to on each of these ways: a gateway, or
    /// the destination itself. None where no route leads there out of this interface.
    ///
    /// The kernel is asked first. Where its answer leads out of another interface, or it has none, because a
    /// route of OSPF is in the way, say, rules and routes are looked through as the kernel does it, but for
    /// routes over other interfaces.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to list its routes.
    pub async fn next_hops(
        &self,
        (interface, name): (u32, &str),
        ways: &[Way],
    ) -> Result<Vec<Option<IpAddr>>, Error> {
        let mut next_hops =
            asked(interface, ways).asked(|| format!("cannot look up routes out of {name}"))?;
        for v6 in [false, true] {
            let of_family = |way: &Way| way.remote.is_ipv6() == v6;
            let mut missing = ways.iter().zip(&next_hops);
            if !missing.any(|(way, hop)| hop.is_none() && of_family(way)) {
                continue;
            }
            let policy = self.policy(interface, v6).await?;
            for (way, next_hop) in ways.iter().zip(&mut next_hops) {
                if next_hop.is_none() && of_family(way) {
                    *next_hop = policy.next_hop(way, name);
                }
            }
        }
        Ok(next_hops)
    }

    async fn policy(&self, interface: u32, v6: bool) -> Result<Policy, Error> {
        let version = if v6 { IpVersion::V6 } else { IpVersion::V4 };
        let rules = self.handle.rule().get(version).execute();
        let rules: Vec<RuleMessage> = rules
            .try_collect()
            .await
            .asked(|| "cannot list the routing rules".into())?;
        let messages = self.all_routes().await?;
        let routes = messages
            .iter()
            .filter_map(|message| Route::read(message, interface))
            .filter(|route| route.destination.is_ipv6() == v6)
            .collect();
        let mut rules: Vec<Rule> = rules.iter().map(Rule::read).collect();
        rules.sort_by_key(|rule| rule.priority);
        Ok(Policy { rules, routes })
    }
}

/// What the kernel answers, as far as it leads out of the interface.
fn asked(interface: u32, ways: &[Way]) -> io::Result<Vec<Option<IpAddr>>> {
    let mut next_hops = Vec::with_capacity(ways.len());
    for ways in ways.chunks(MAX_REQUESTS) {
        let answers = look_up(interface, ways, RouteFlags::empty())?;
        // Over IPv4, what no route leads to is taken for a neighbour on the interface that is asked for
        // (ip_route_output_key_hash_rcu() in net/ipv4/route.c). Asked for the route itself, the kernel says that
        // there is none.
        let is_neighbour = |(way, hop): &(&Way, &Option<IpAddr>)| {
            way.remote.is_ipv4() && **hop == Some(way.remote)
        };
        let neighbours = ways.iter().zip(&answers).filter(is_neighbour);
        let neighbours: Vec<Way> = neighbours.map(|(way, _)| *way).collect();
        let routed = look_up(interface, &neighbours, RouteFlags::FibMatch)?;
        let unrouted = neighbours.iter().zip(routed);
        let unrouted: Vec<&Way> = unrouted
            .filter(|(_, answer)| answer.is_none())
            .map(|(way, _)| way)
            .collect();
        next_hops.extend(
            ways.iter()
                .zip(answers)
                .map(|(way, answer)| answer.filter(|_| !unrouted.contains(&way))),
        );
    }
    Ok(next_hops)
}

/// Sends these look-ups and reads the answers.
fn look_up(interface: u32, ways: &[Way], flags: RouteFlags) -> io::Result<Vec<Option<IpAddr>>> {
    let requests = ways.iter().map(|way| {
        let mut request = lookup(way.remote);
        let (source, length) = match way.local {
            IpAddr::V4(address) => (RouteAddress::Inet(address), 32),
            IpAddr::V6(address) => (RouteAddress::Inet6(address), 128),
        };
        request.header.flags |= flags;
        request.header.source_prefix_length = length;
        request.attributes.push(RouteAttribute::Source(source));
        request.attributes.push(RouteAttribute::Oif(interface));
        Request::new(&RouteNetlinkMessage::GetRoute(request), 0)
    });
    let requests: Vec<Request> = requests.collect();
    let mut answers = vec![None; ways.len()];
    // On a connection of its own the first request has number 1. A refusal is an answer too: there is no way.
    Connection::open(NETLINK_ROUTE)?.carry_out(&requests, |header, body| {
        let place = header.sequence_number.wrapping_sub(1) as usize;
        let message = RouteNetlinkMessage::deserialize(header, body);
        if let (Ok(RouteNetlinkMessage::NewRoute(route)), Some(answer)) =
            (message, answers.get_mut(place))
            && let Some(way) = ways.get(place)
            && route.header.kind == RouteType::Unicast
        {
            let hops = KernelRoute::from_message(&route).nexthops;
            let hop = hops.iter().find(|hop| hop.interface == interface);
            // A route by a nexthop object may be told without its next hops (`nexthop_compat_mode`).
            let untold = hops.is_empty() && flags.contains(RouteFlags::FibMatch);
            *answer = match hop {
                Some(hop) => Some(hop.gateway.unwrap_or(way.remote)),
                None => untold.then_some(way.remote),
            };
        }
        Ok(())
    })?;
    Ok(answers)
}

/// Rules and routes of one family, as far as they concern packets out of one interface.
struct Policy {
    /// By priority.
    rules: Vec<Rule>,
    routes: Vec<Route>,
}

/// What a rule does with packets that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Looks into a table, and takes no route from it whose prefix is not longer than this.
    Table(u32, Option<u8>),
    /// Goes on at the rule of this priority.
    Goto(u32),
    /// Nothing.
    Nothing,
    /// There is no way.
    Refuse,
}

/// A rule of the routing policy (ip-rule).
#[derive(Clone, Debug)]
struct Rule {
    priority: u32,
    act: Act,
    inverted: bool,
    from: Option<(IpAddr, u8)>,
    to: Option<(IpAddr, u8)>,
    input: Option<String>,
    output: Option<String>,
    /// Whether it has conditions that outer packets do not meet: a mark, a type of service, ports, a user.
    is_special: bool,
}

impl Rule {
    fn read(message: &RuleMessage) -> Self {
        let header = &message.header;
        let mut rule = Self {
            priority: 0,
            act: Act::Nothing,
            inverted: header.flags.contains(RuleFlags::Invert),
            from: None,
            to: None,
            input: None,
            output: None,
            is_special: header.tos != 0,
        };
        let (mut table, mut goto, mut suppressed) = (u32::from(header.table), 0, None);
        let (mut mark, mut mask) = (0, u32::MAX);
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Priority(priority) => rule.priority = *priority,
                RuleAttribute::Source(address) => rule.from = Some((*address, header.src_len)),
                RuleAttribute::Destination(address) => rule.to = Some((*address, header.dst_len)),
                RuleAttribute::Iifname(name) => rule.input = Some(name.clone()),
                RuleAttribute::Oifname(name) => rule.output = Some(name.clone()),
                RuleAttribute::Table(number) => table = *number,
                RuleAttribute::Goto(priority) => goto = *priority,
                RuleAttribute::SuppressPrefixLen(length) => {
                    // u32::MAX is for none.
                    suppressed = u8::try_from(*length).ok();
                }
                RuleAttribute::FwMark(value) => mark = *value,
                RuleAttribute::FwMask(value) => mask = *value,
                RuleAttribute::TunId(id) => rule.is_special |= *id != 0,
                RuleAttribute::L3MDev(on) => rule.is_special |= *on,
                RuleAttribute::UidRange(_)
                | RuleAttribute::IpProtocol(_)
                | RuleAttribute::SourcePortRange(_)
                | RuleAttribute::DestinationPortRange(_) => rule.is_special = true,
                _ => {}
            }
        }
        // Outer packets have no mark.
        rule.is_special |= mark & mask != 0;
        rule.act = match header.action {
            RuleAction::ToTable => Act::Table(table, suppressed),
            RuleAction::Goto => Act::Goto(goto),
            RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => Act::Refuse,
            _ => Act::Nothing,
        };
        rule
    }

    fn is_for(&self, way: &Way, output: &str) -> bool {
        let within = |prefix: Option<(IpAddr, u8)>, address| {
            prefix.is_none_or(|(prefix, length)| contains(prefix, length, address))
        };
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|it| it == name);
        let meets = !self.is_special
            && within(self.from, way.local)
            && within(self.to, way.remote)
            && is(&self.input, LOOPBACK)
            && is(&self.output, output);
        meets != self.inverted
    }
}

/// A route that packets out of one interface can take, or that ends the look-up.
#[derive(Clone, Debug)]
struct Route {
    table: u32,
    destination: IpAddr,
    prefix_len: u8,
    priority: u32,
    kind: RouteType,
    /// Out of the interface.
    hops: Vec<Nexthop>,
}

impl Route {
    fn read(message: &RouteMessage, interface: u32) -> Option<Self> {
        let header = &message.header;
        if header
            .flags
            .intersects(RouteFlags::Dead | RouteFlags::Cloned)
            || header.source_prefix_length != 0
        {
            return None;
        }
        let KernelRoute {
            destination,
            prefix_len,
            table,
            priority,
            source: _,
            object: _,
            mtu: _,
            mut nexthops,
        } = KernelRoute::from_message(message);
        nexthops.retain(|hop| hop.interface == interface);
        (!nexthops.is_empty() || header.kind != RouteType::Unicast).then_some(Self {
            table,
            destination,
            prefix_len,
            priority,
            kind: header.kind,
            hops: nexthops,
        })
    }
}

impl Policy {
    /// Goes through the rules, as fib_rules_lookup() does in net/core/fib_rules.c.
    fn next_hop(&self, way: &Way, output: &str) -> Option<IpAddr> {
        let mut from = 0;
        for rule in &self.rules {
            if rule.priority < from || !rule.is_for(way, output) {
                continue;
            }
            let (table, suppressed) = match rule.act {
                Act::Table(table, suppressed) => (table, suppressed),
                Act::Goto(priority) => {
                    from = priority;
                    continue;
                }
                Act::Nothing => continue,
                Act::Refuse => return None,
            };
            let Some(route) = self.longest(table, way.remote) else {
                continue;
            };
            let too_short = suppressed.is_some_and(|length| route.prefix_len <= length);
            match route.kind {
                RouteType::Throw => {}
                _ if too_short => {}
                RouteType::Unicast => return route.gateway(way.remote),
                _ => return None,
            }
        }
        None
    }

    /// The route of a table that leads to an address.
    fn longest(&self, table: u32, address: IpAddr) -> Option<&Route> {
        let routes = self.routes.iter().filter(|route| {
            route.table == table && contains(route.destination, route.prefix_len, address)
        });
        routes.min_by_key(|route| (u8::MAX - route.prefix_len, route.priority))
    }
}

impl Route {
    /// Of several next hops, always the same for an address.
    fn gateway(&self, address: IpAddr) -> Option<IpAddr> {
        let sum = match address {
            IpAddr::V4(address) => address.octets().map(usize::from).iter().sum::<usize>(),
            IpAddr::V6(address) => address.octets().map(usize::from).iter().sum(),
        };
        let hop = self.hops.get(sum % self.hops.len().max(1))?;
        Some(hop.gateway.unwrap_or(address))
    }
}

/// Whether an address has these first bits.
fn contains(prefix: IpAddr, length: u8, address: IpAddr) -> bool {
    let same = |one: u128, other: u128, bits: u32| {
        let rest = bits.saturating_sub(u32::from(length));
        (one ^ other).checked_shr(rest).unwrap_or(0) == 0
    };
    match (prefix, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            same(one.to_bits().into(), other.to_bits().into(), Ipv4Addr::BITS)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            same(one.to_bits(), other.to_bits(), Ipv6Addr::BITS)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: u32 = 254;

    /// A change to a rule.
    type Change = fn(&mut Rule);

    fn route(table: u32, prefix: &str, kind: RouteType, gateways: &[&str]) -> Route {
        let (address, length) = prefix.split_once('/').unwrap();
        Route {
            table,
            destination: address.parse().unwrap(),
            prefix_len: length.parse().unwrap(),
            priority: 100,
            kind,
            hops: gateways
                .iter()
                .map(|gateway| Nexthop {
                    interface: 7,
                    gateway: gateway.parse().ok(),
                })
                .collect(),
        }
    }

    fn rule(priority: u32, act: Act) -> Rule {
        Rule {
            priority,
            act,
            inverted: false,
            from: None,
            to: None,
            input: None,
            output: None,
            is_special: false,
        }
    }

    fn next_hop(policy: &Policy, remote: &str) -> Option<IpAddr> {
        let remote: IpAddr = remote.parse().unwrap();
        let local = match remote {
            IpAddr::V4(_) => "10.0.0.1",
            IpAddr::V6(_) => "fd78::1",
        };
        let local = local.parse().unwrap();
        policy.next_hop(&Way { local, remote }, "eth0")
    }

    fn is(policy: &Policy, remote: &str, expected: Option<&str>) {
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!(next_hop(policy, remote), expected, "{remote}");
    }

    #[test]
    fn the_longest_prefix_and_then_the_lowest_metric_leads() {
        let unicast = RouteType::Unicast;
        let better = Route {
            priority: 20,
            ..route(MAIN, "0.0.0.0/0", unicast, &["10.0.0.253"])
        };
        let policy = Policy {
            rules: vec![rule(32766, Act::Table(MAIN, None))],
            routes: vec![
                route(MAIN, "0.0.0.0/0", unicast, &["10.0.0.254"]),
                better,
                route(MAIN, "10.0.0.0/24", unicast, &[""]),
                route(MAIN, "10.9.0.0/16", RouteType::Unreachable, &[]),
                route(253, "10.8.0.0/16", unicast, &["10.0.0.9"]),
                route(MAIN, "fd78::/64", unicast, &[""]),
                route(MAIN, "::/0", unicast, &["fe80::1"]),
                route(MAIN, "192.0.2.0/24", unicast, &["fe80::2"]),
            ],
        };
        is(&policy, "10.0.0.2", Some("10.0.0.2"));
        is(&policy, "10.8.0.1", Some("10.0.0.253"));
        is(&policy, "10.9.0.1", None);
        is(&policy, "192.0.2.1", Some("fe80::2"));
        is(&policy, "fd78::2", Some("fd78::2"));
        is(&policy, "2001:db8::2", Some("fe80::1"));
    }

    #[test]
    fn rules_decide_which_table_is_looked_into() {
        let unicast = RouteType::Unicast;
        let routes = vec![
            route(MAIN, "0.0.0.0/0", unicast, &["10.0.0.254"]),
            route(100, "0.0.0.0/0", unicast, &["10.0.0.100"]),
            route(101, "10.7.0.0/16", RouteType::Throw, &[]),
            route(101, "0.0.0.0/0", unicast, &["10.0.0.101"]),
        ];
        let main = rule(32766, Act::Table(MAIN, None));
        let with = |more: Vec<Rule>| {
            let mut rules = more;
            rules.push(main.clone());
            Policy {
                rules,
                routes: routes.clone(),
            }
        };
        let first = || rule(10, Act::Table(100, None));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let remote = "10.9.0.1";
        is(&with(vec![first()]), remote, Some("10.0.0.100"));
        let changes: [(Change, bool); 8] = [
            (|it| it.is_special = true, false),
            (|it| it.output = Some("eth1".to_owned()), false),
            (|it| it.output = Some("eth0".to_owned()), true),
            (|it| it.input = Some("eth0".to_owned()), false),
            (|it| it.input = Some("lo".to_owned()), true),
            (|it| it.inverted = true, false),
            (|it| it.act = Act::Nothing, false),
            (|it| it.act = Act::Table(100, Some(0)), false),
        ];
        for (change, applies) in changes {
            let mut rule = first();
            change(&mut rule);
            let expected = if applies { "10.0.0.100" } else { "10.0.0.254" };
            is(&with(vec![rule]), remote, Some(expected));
        }
        for (from, to, applies) in [
            (Some(("10.0.0.1", 32)), None, true),
            (Some(("10.0.0.3", 32)), None, false),
            (Some(("10.0.0.0", 24)), Some(("10.9.0.0", 16)), true),
            (None, Some(("10.8.0.0", 16)), false),
        ] {
            let mut rule = first();
            let prefix = |(text, length): (&str, u8)| (address(text), length);
            (rule.from, rule.to) = (from.map(prefix), to.map(prefix));
            let expected = if applies { "10.0.0.100" } else { "10.0.0.254" };
            is(&with(vec![rule]), remote, Some(expected));
        }
        is(&with(vec![rule(10, Act::Refuse)]), remote, None);
        let thrown = with(vec![rule(10, Act::Table(101, None))]);
        is(&thrown, remote, Some("10.0.0.101"));
        is(&thrown, "10.7.0.1", Some("10.0.0.254"));
        let goto = vec![rule(5, Act::Goto(20)), first()];
        is(&with(goto), remote, Some("10.0.0.254"));
    }

    #[test]
    fn of_several_gateways_each_address_has_one() {
        let gateways = ["10.0.0.252", "10.0.0.253"];
        let policy = Policy {
            rules: vec![rule(32766, Act::Table(MAIN, None))],
            routes: vec![route(MAIN, "0.0.0.0/0", RouteType::Unicast, &gateways)],
        };
        is(&policy, "10.9.0.0", Some("10.0.0.253"));
        is(&policy, "10.9.0.1", Some("10.0.0.252"));
    }

    /// Asks the kernel of whatever machine this runs on.
    #[test]
    fn what_no_route_leads_to_out_of_an_interface_is_no_neighbour_there() {
        let way = |local: &str, remote: &str| Way {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        };
        let ways = [
            way("127.0.0.1", "192.0.2.1"),
            way("::1", "2001:db8::1"),
            way("127.0.0.1", "127.0.0.2"),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let found = runtime.block_on(async {
            let netlink = Netlink::open().unwrap();
            netlink.next_hops((1, LOOPBACK), &ways).await.unwrap()
        });
        // The last one is the host's own.
        assert_eq!(found, [None, None, None]);
        let taken = look_up(1, &ways[..1], RouteFlags::empty()).unwrap();
        assert_eq!(taken, [Some(ways[0].remote)], "as the kernel has it");
    }
}
