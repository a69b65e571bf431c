//! The keys of `[cluster]` and of what is within it.

use crate::schema::{Table, default, optional, required};

/// `[cluster]`.
pub const CLUSTER: Table = Table {
    name: "cluster",
    several: false,
    keys: &[
        required("name", "\"shop\""),
        required("secret_file", "\"/etc/l2ha/cluster.key\""),
        optional(
            "secret_previous_file",
            "\"/etc/l2ha/cluster.old.key\"",
            "only the present secret",
        ),
        optional(
            "node",
            "\"server-1\"",
            "the node whose address this host has",
        ),
        default("links", "\"roles\""),
        default("authentication", "true"),
        default("bfd", "\"50x3\""),
        optional("mtu", "1500", "each node's own"),
        optional("servers", "{ server-1 = \"10.0.0.1\" }", "none"),
        optional("clients", "{ client-1 = \"10.0.0.9\" }", "none"),
        optional("gateways", "{ gateway-1 = \"10.0.0.20\" }", "none"),
        optional("pairs", "{}", "nothing of their own"),
    ],
};

/// A node in `[cluster.servers]`, `[cluster.clients]` or `[cluster.gateways]` that is written as a table.
pub const MEMBER: Table = Table {
    name: "cluster.servers.NAME",
    several: false,
    keys: &[
        optional("address", "\"10.0.0.1\"", "`addresses` instead"),
        optional(
            "addresses",
            "[\"10.0.0.1\", \"2001:db8:77::1\"]",
            "`address` alone",
        ),
        optional(
            "interface",
            "\"eth0\"",
            "the interface that has the address",
        ),
        optional(
            "local_addresses",
            "[\"10.1.0.4\"]",
            "`addresses`: no translation on the way",
        ),
        default("port", "1701"),
        optional("mtu", "1500", "`mtu` of `[cluster]`"),
        optional("mode", "\"auto\"", "`mode` of `[underlay]`"),
        optional("ipv4", "\"192.0.2.1\"", "no IPv4 address of its own"),
        optional("router_id", "\"10.0.0.1\"", "derived"),
        optional("prefixes", "[\"2001:db8:9::/48\"]", "none"),
        optional("cost", "10", "`cost` of `[ospf]`"),
        optional("bfd", "\"50x3\"", "`bfd` of `[cluster]`"),
        optional("area", "\"0.0.0.1\"", "`area` of `[ospf]`"),
        optional("encapsulation", "\"udp\"", "`\"udp\"`"),
        optional("source_port", "\"fixed\"", "`\"fixed\"`"),
        optional("udp_checksum", "true", "`true`"),
        optional("ttl", "64", "64"),
        optional("dscp", "0", "0"),
        optional("ecn", "\"none\"", "`\"none\"`"),
    ],
};

/// A tunnel in `[cluster.pairs]`.
pub const PAIR: Table = Table {
    name: "cluster.pairs.NAMES",
    several: false,
    keys: &[
        optional("mtu", "1442", "what both ends' underlays leave"),
        optional("cost", "10", "`cost` of each end"),
        optional("bfd", "\"50x3\"", "`bfd` of either end, or of `[cluster]`"),
        optional(
            "area",
            "\"0.0.0.1\"",
            "`area` of either end, or of `[ospf]`",
        ),
        optional("encapsulation", "\"udp\"", "that of either end"),
        optional("source_port", "\"fixed\"", "that of either end"),
        optional("udp_checksum", "true", "that of either end"),
        optional("ttl", "64", "that of each end"),
        optional("dscp", "0", "that of each end"),
        optional("ecn", "\"none\"", "that of either end"),
    ],
};

/// Keys that both ends of a tunnel must have alike.
pub(crate) const SHARED: &[&str] = &[
    "bfd",
    "area",
    "encapsulation",
    "source_port",
    "udp_checksum",
    "ecn",
];
/// Keys that each end has for itself.
pub(crate) const OWN: &[&str] = &["cost", "ttl", "dscp"];
