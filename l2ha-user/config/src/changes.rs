//! What is different between two configurations, in words, and what of the node's work a reload to the
//! second one interrupts. What is not said to interrupt anything changes under live adjacencies, sessions
//! of BFD and connections.

use std::fmt::{Debug, Display};

use ::bfd::Timers;
use ospfv3::{AreaConfig, Edge};

use crate::{
    membership::Membership,
    rotation::Rotating,
    types::{BfdKey, Config, Node, Ospf, OspfArea, OspfKey, Service, Tunnel, TunnelOspf, Underlay},
};

/// A tunnel whose ends do not say the same.
const BOTH_ENDS: &str = "nothing passes the tunnel until the peer says the same";
/// A key without one that both ends have.
const NO_COMMON_KEY: &str =
    "neighbours that do not have the new key refuse packets, and are lost until they have it";

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What changes: `tunnel client: cost 10 -> 20`.
    pub what: String,
    /// What it interrupts, if it does.
    pub interrupts: Option<String>,
}

impl Config {
    /// What is different in `new`, in the order of the file's sections. No secret is in it.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let Self {
            node: _,
            underlay: _,
            tunnels,
            ospf,
            ospf_areas,
            ospf_keys,
            bfd_keys,
            services,
            own_addresses,
            membership,
        } = self;
        let mut all = Changes::default();
        all.hidden("node", "addresses", own_addresses, &new.own_addresses, {
            Some("connections from an address that is removed end")
        });
        all.underlay(&self.underlay, &new.underlay);
        all.tunnels(tunnels, &new.tunnels);
        match (ospf, &new.ospf) {
            (Some(old), Some(new)) => all.ospf(old, new),
            (Some(_), None) => all.add(
                "ospf: no longer runs",
                Some("every adjacency ends, every route and service is withdrawn"),
            ),
            (None, Some(_)) => all.add("ospf: runs", None),
            (None, None) => {}
        }
        all.areas(ospf_areas, &new.ospf_areas);
        all.ospf_keys(ospf_keys, &new.ospf_keys);
        all.bfd_keys(bfd_keys, &new.bfd_keys);
        all.services(services, &new.services);
        if membership.as_ref().map(Membership::settings)
            != new.membership.as_ref().map(Membership::settings)
        {
            all.add("membership: other settings", None);
        }
        all.list
    }
}

impl Node {
    /// What is different in `new`: nothing of it can change while the daemon runs.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let Self {
            name,
            run_dir,
            bpffs,
        } = self;
        let mut all = Changes::default();
        all.field("node", "name", name, &new.name, None);
        let folder = |path: &std::path::Path| path.display().to_string();
        let (old_dir, new_dir) = (folder(run_dir), folder(&new.run_dir));
        all.field("node", "run_dir", &old_dir, &new_dir, None);
        let (old_dir, new_dir) = (folder(bpffs), folder(&new.bpffs));
        all.field("node", "bpffs", &old_dir, &new_dir, None);
        all.list
    }
}

#[derive(Default)]
struct Changes {
    list: Vec<Change>,
}

impl Changes {
    fn add(&mut self, what: impl Into<String>, interrupts: Option<&str>) {
        self.list.push(Change {
            what: what.into(),
            interrupts: interrupts.map(str::to_owned),
        });
    }

    /// A value that can be shown.
    fn field<T: PartialEq + Display>(
        &mut self,
        of: &str,
        key: &str,
        old: &T,
        new: &T,
        interrupts: Option<&str>,
    ) {
        if old != new {
            self.add(format!("{of}: {key} {old} -> {new}"), interrupts);
        }
    }

    /// A value that is a secret or too long to be shown.
    fn hidden<T: PartialEq>(
        &mut self,
        of: &str,
        key: &str,
        old: &T,
        new: &T,
        interrupts: Option<&str>,
    ) {
        if old != new {
            self.add(format!("{of}: {key} changed"), interrupts);
        }
    }

    /// Sections that are known by their names; what goes with one that is removed is `gone`.
    fn named<T>(
        &mut self,
        kind: &str,
        (old, new): (&[T], &[T]),
        name: impl Fn(&T) -> &str,
        gone: &str,
        changed: impl Fn(&mut Self, &T, &T),
    ) {
        for before in old {
            match new.iter().find(|it| name(it) == name(before)) {
                Some(after) => changed(self, before, after),
                None => self.add(format!("{kind} {}: removed", name(before)), Some(gone)),
            }
        }
        for after in new {
            if !old.iter().any(|it| name(it) == name(after)) {
                self.add(format!("{kind} {}: added", name(after)), None);
            }
        }
    }

    fn underlay(&mut self, old: &Underlay, new: &Underlay) {
        let Underlay {
            interface,
            addresses,
            mode,
        } = old;
        self.field("underlay", "interface", interface, &new.interface, {
            Some("nothing if it is the same one renamed; else all tunnels move")
        });
        self.hidden("underlay", "addresses", addresses, &new.addresses, None);
        self.field("underlay", "mode", &word(mode), &word(&new.mode), {
            Some("packets may be lost while the program is attached anew")
        });
    }

    fn tunnels(&mut self, old: &[Tunnel], new: &[Tunnel]) {
        let gone = "its adjacency and everything that goes over it";
        self.named("tunnel", (old, new), |it| &it.name, gone, Self::tunnel);
    }

    fn tunnel(&mut self, old: &Tunnel, new: &Tunnel) {
        let Tunnel {
            name,
            interface,
            hidden: _,
            local,
            remote,
            encapsulation,
            session_id,
            peer_session_id,
            send_cookie,
            previous_send_cookie,
            receive_cookie,
            previous_cookie,
            sublayer,
            form,
            mtu,
            addresses,
            ospf,
            edge,
            ospf_key,
            bfd_key,
        } = old;
        let of = format!("tunnel {name}");
        let both = Some(BOTH_ENDS);
        let again = Some("its interface is made anew: its adjacency and connections over it");
        self.field(&of, "interface", interface, &new.interface, again);
        self.field(&of, "local address", local, &new.local, both);
        self.field(&of, "remote", remote, &new.remote, both);
        self.hidden(
            &of,
            "encapsulation or ports",
            encapsulation,
            &new.encapsulation,
            both,
        );
        self.field(&of, "session_id", session_id, &new.session_id, both);
        let key = "peer_session_id";
        self.field(&of, key, peer_session_id, &new.peer_session_id, both);
        let key = "send_cookie_file";
        let sent = Some("the peer drops what is sent, unless it accepts the new cookie already");
        let overlaps = new.previous_send_cookie.as_ref() == Some(send_cookie);
        let sent = sent.filter(|_| !overlaps);
        self.hidden(&of, key, send_cookie, &new.send_cookie, sent);
        let (key, before) = ("send_cookie_previous_file", previous_send_cookie);
        self.hidden(&of, key, before, &new.previous_send_cookie, None);
        let overlaps = new.previous_cookie.as_ref() == Some(receive_cookie);
        let received = both.filter(|_| !overlaps);
        let key = "receive_cookie_file";
        self.hidden(&of, key, receive_cookie, &new.receive_cookie, received);
        let key = "receive_cookie_previous_file";
        self.hidden(&of, key, previous_cookie, &new.previous_cookie, None);
        self.field(&of, "sublayer", &word(sublayer), &word(&new.sublayer), both);
        self.hidden(&of, "outer headers", form, &new.form, None);
        let fits = |mtu: &Option<u16>| mtu.map_or("what fits".to_owned(), |mtu| mtu.to_string());
        let both_mtu = Some("its adjacency comes up again once the peer says the same");
        self.field(&of, "mtu", &fits(mtu), &fits(&new.mtu), both_mtu);
        let gone = addresses.iter().any(|it| !new.addresses.contains(it));
        let gone = Some("connections of the address that goes").filter(|_| gone);
        self.hidden(&of, "addresses", addresses, &new.addresses, gone);
        let router = |edge: &Option<Edge>| edge.as_ref().map(|edge| edge.router_id);
        let other = Some("an adjacency with another router than that one");
        let other = other.filter(|_| router(&new.edge).is_some());
        let ids = [edge, &new.edge]
            .map(|edge| router(edge).map_or("any".to_owned(), |router_id| router_id.to_string()));
        self.field(&of, "peer_router_id", &ids[0], &ids[1], other);
        let prefixes = |edge: &Option<Edge>| edge.as_ref().map(|edge| edge.prefixes.clone());
        let key = "peer_prefixes";
        self.hidden(&of, key, &prefixes(edge), &prefixes(&new.edge), None);
        match (ospf, &new.ospf) {
            (Some(old), Some(new)) => self.tunnel_ospf(&of, old, new),
            (Some(_), None) => self.add(format!("{of}: ospf off"), Some("its adjacency")),
            (None, Some(_)) => self.add(format!("{of}: ospf on"), None),
            (None, None) => {}
        }
        self.own_key(&of, "ospf_key", ospf_key, &new.ospf_key);
        self.own_key(&of, "bfd_key", bfd_key, &new.bfd_key);
    }

    /// A key of a tunnel alone, with the former one.
    fn own_key<T: PartialEq + Clone>(
        &mut self,
        of: &str,
        key: &str,
        old: &Option<Rotating<T>>,
        new: &Option<Rotating<T>>,
    ) {
        let all = |keys: &Option<Rotating<T>>| keys.as_ref().map_or(Vec::new(), Rotating::all);
        let (before, after) = (all(old), all(new));
        let common = before.iter().any(|key| after.contains(key));
        let interrupts = Some(NO_COMMON_KEY).filter(|_| !common);
        self.hidden(of, key, &before, &after, interrupts);
    }

    fn tunnel_ospf(&mut self, of: &str, old: &TunnelOspf, new: &TunnelOspf) {
        let TunnelOspf {
            area,
            network,
            priority,
            cost,
            bfd,
        } = old;
        let both = Some("its adjacency comes up again once the peer says the same");
        self.field(of, "area", area, &new.area, both);
        self.field(
            of,
            "ospf_network",
            &word(network),
            &word(&new.network),
            both,
        );
        let office = Some("its office, if it is Designated Router or Backup there");
        let office = office.filter(|_| new.priority == 0);
        self.field(of, "ospf_priority", priority, &new.priority, office);
        self.field(of, "cost", cost, &new.cost, None);
        self.field(of, "bfd", &timers(*bfd), &timers(new.bfd), None);
    }

    fn ospf(&mut self, old: &Ospf, new: &Ospf) {
        let Ospf {
            router_id,
            area,
            hello_interval,
            dead_interval,
            cost,
            bfd,
            instance_id,
            ipv4,
            retransmit_interval,
            table,
            route_metric,
            redistribute,
            accept_default,
            accept,
            graceful_restart,
            graceful_helper,
            graceful_strict,
        } = old;
        let of = "ospf";
        let all = Some("every adjacency comes up again; the routes stay meanwhile");
        self.field(of, "router_id", router_id, &new.router_id, all);
        self.field(of, "area", area, &new.area, None);
        let followed = format!(
            "the adjacency with a neighbour that does not say the same within {} s",
            (*dead_interval).max(new.dead_interval)
        );
        let followed = Some(followed.as_str());
        let key = "hello_interval";
        self.field(of, key, hello_interval, &new.hello_interval, followed);
        let key = "dead_interval";
        self.field(of, key, dead_interval, &new.dead_interval, followed);
        self.field(of, "cost", cost, &new.cost, None);
        self.field(of, "bfd", &timers(*bfd), &timers(new.bfd), None);
        let all = Some("every adjacency comes up again once the neighbours say the same");
        self.field(of, "instance_id", instance_id, &new.instance_id, all);
        let id = |id: Option<u8>| id.map_or("off".to_owned(), |id| format!("instance {id}"));
        let routes = Some("the adjacencies of IPv4, and its routes until they are up again");
        let routes = routes.filter(|_| ipv4.is_some());
        self.field(of, "ipv4", &id(*ipv4), &id(new.ipv4), routes);
        let key = "retransmit_interval";
        self.field(of, key, retransmit_interval, &new.retransmit_interval, None);
        self.field(of, "table", table, &new.table, None);
        let key = "route_metric";
        self.field(of, key, route_metric, &new.route_metric, None);
        self.hidden(of, "redistribute", redistribute, &new.redistribute, None);
        let key = "accept_default";
        self.field(of, key, accept_default, &new.accept_default, None);
        self.hidden(of, "accept", accept, &new.accept, None);
        let key = "graceful_restart";
        self.field(of, key, graceful_restart, &new.graceful_restart, None);
        let key = "graceful_helper";
        self.field(of, key, graceful_helper, &new.graceful_helper, None);
        let key = "graceful_strict";
        self.field(of, key, graceful_strict, &new.graceful_strict, None);
    }

    fn areas(&mut self, old: &[OspfArea], new: &[OspfArea]) {
        let usual = |area| OspfArea {
            area,
            config: AreaConfig::default(),
        };
        let mut areas: Vec<_> = old.iter().chain(new).map(|it| it.area).collect();
        areas.sort_unstable();
        areas.dedup();
        for area in areas {
            let of_area = |all: &[OspfArea]| {
                let found = all.iter().find(|it| it.area == area);
                found.map_or(usual(area), |it| *it).config
            };
            let AreaConfig {
                stub,
                default_cost,
                no_summary,
            } = of_area(old);
            let (of, new) = (format!("area {area}"), of_area(new));
            let both = Some("its adjacencies come up again once its routers say the same");
            self.field(&of, "stub", &stub, &new.stub, both);
            let key = "default_cost";
            if stub && new.stub {
                self.field(&of, key, &default_cost, &new.default_cost, None);
                self.field(&of, "no_summary", &no_summary, &new.no_summary, None);
            }
        }
    }

    fn ospf_keys(&mut self, old: &[OspfKey], new: &[OspfKey]) {
        let common = old.iter().any(|key| new.contains(key)) || (old.is_empty() && new.is_empty());
        let interrupts = Some(NO_COMMON_KEY).filter(|_| !common);
        self.keys("ospf", (old, new), |key| key.key.sa_id.into(), interrupts);
    }

    fn bfd_keys(&mut self, old: &[BfdKey], new: &[BfdKey]) {
        // The first one signs.
        let signs = new.first();
        let common = signs.map_or(old.is_empty(), |key| old.contains(key));
        let interrupts = Some(NO_COMMON_KEY).filter(|_| !common);
        self.keys("bfd", (old, new), |key| key.key.id.into(), interrupts);
    }

    fn keys<T: PartialEq>(
        &mut self,
        of: &str,
        (old, new): (&[T], &[T]),
        id: impl Fn(&T) -> u32,
        interrupts: Option<&str>,
    ) {
        let mut ids: Vec<u32> = old.iter().chain(new).map(&id).collect();
        ids.sort_unstable();
        ids.dedup();
        let before = self.list.len();
        for key in ids {
            let has = |all: &[T]| all.iter().position(|it| id(it) == key);
            let what = match (has(old), has(new)) {
                (Some(at), Some(now)) if old.get(at) == new.get(now) => continue,
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
                (None, _) => "added",
            };
            self.add(format!("{of}: key {key} {what}"), interrupts);
        }
        if self.list.len() == before && old != new {
            self.add(format!("{of}: order of the keys changed"), interrupts);
        }
    }

    fn services(&mut self, old: &[Service], new: &[Service]) {
        let gone = "connections of its address, which others take over";
        self.named("service", (old, new), |it| &it.name, gone, Self::service);
    }

    fn service(&mut self, old: &Service, new: &Service) {
        let Service {
            name,
            address,
            metric,
            checks,
            when_failed,
            on_change,
        } = old;
        let of = format!("service {name}");
        let gone = Some("connections of the address that goes");
        self.field(&of, "address", address, &new.address, gone);
        self.field(&of, "metric", metric, &new.metric, None);
        self.hidden(&of, "check", checks, &new.checks, None);
        let (before, now) = (word(when_failed), word(&new.when_failed));
        self.field(&of, "when_failed", &before, &now, None);
        self.hidden(&of, "on_change", on_change, &new.on_change, None);
    }
}

/// A choice as the file has it: `PointToPoint` is `point-to-point`.
fn word(choice: &impl Debug) -> String {
    let mut word = String::new();
    for letter in format!("{choice:?}").chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

/// As the file has them: `50x3`.
fn timers(timers: Option<Timers>) -> String {
    timers.map_or("off".to_owned(), |timers| {
        let milliseconds = timers.interval.as_secs_f64() * 1000.0;
        format!("{milliseconds}x{}", timers.multiplier)
    })
}
