//! Every key a configuration file may have: what is refused as unknown, what a missing key is
//! answered with, and what the documentation must describe, all from one list.

/// A table of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Name, as `tunnels`.
    pub name: &'static str,
    /// Whether there may be several, as `[[tunnels]]`.
    pub several: bool,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Name.
    pub name: &'static str,
    /// A good value, as TOML.
    pub example: &'static str,
    /// What holds when the key is absent.
    pub absent: Absent,
}

/// What holds when a key is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The key must be there.
    Refused,
    /// This value, as TOML.
    Default(&'static str),
    /// What these words say.
    Means(&'static str),
}

impl Table {
    /// The line that begins it, as `[[tunnels]]`.
    pub fn header(&self) -> String {
        match self.several {
            true => format!("[[{}]]", self.name),
            false => format!("[{}]", self.name),
        }
    }

    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

pub(crate) const fn required(name: &'static str, example: &'static str) -> Key {
    let absent = Absent::Refused;
    Key {
        name,
        example,
        absent,
    }
}

pub(crate) const fn default(name: &'static str, value: &'static str) -> Key {
    let absent = Absent::Default(value);
    Key {
        name,
        example: value,
        absent,
    }
}

pub(crate) const fn optional(
    name: &'static str,
    example: &'static str,
    means: &'static str,
) -> Key {
    let absent = Absent::Means(means);
    Key {
        name,
        example,
        absent,
    }
}

/// Every table of the file.
pub const TABLES: &[Table] = &[
    NODE, UNDERLAY, TUNNELS, OSPF, OSPF_AREAS, OSPF_KEYS, BFD_KEYS, SERVICES,
];

pub(crate) const NODE: Table = Table {
    name: "node",
    several: false,
    keys: &[
        required("name", "\"server-1\""),
        default("run_dir", "\"/run/l2ha\""),
        default("bpffs", "\"/sys/fs/bpf\""),
        optional(
            "addresses",
            "[\"fd00:a::1\"]",
            "the first address of a tunnel, where another tunnel has none",
        ),
    ],
};

pub(crate) const UNDERLAY: Table = Table {
    name: "underlay",
    several: false,
    keys: &[
        required("interface", "\"eth0\""),
        required("addresses", "[\"10.77.0.1\"]"),
        default("mode", "\"auto\""),
    ],
};

pub(crate) const TUNNELS: Table = Table {
    name: "tunnels",
    several: true,
    keys: &[
        required("name", "\"client\""),
        optional("interface", "\"l2-client\"", "`l2-` and the tunnel's name"),
        required("remote", "\"10.77.0.9\""),
        default("encapsulation", "\"udp\""),
        default("local_port", "1701"),
        default("remote_port", "1701"),
        required("session_id", "1001"),
        required("peer_session_id", "2001"),
        optional(
            "receive_cookie_file",
            "\"/etc/l2ha/client.receive\"",
            "no cookie",
        ),
        optional(
            "receive_cookie_previous_file",
            "\"/etc/l2ha/client.receive.old\"",
            "only the present cookie",
        ),
        optional("send_cookie_file", "\"/etc/l2ha/client.send\"", "no cookie"),
        optional(
            "send_cookie_previous_file",
            "\"/etc/l2ha/client.send.old\"",
            "only the present cookie",
        ),
        default("sublayer", "\"none\""),
        default("sequence", "\"none\""),
        default("source_port", "\"fixed\""),
        default("udp_checksum", "true"),
        default("ttl", "64"),
        default("dscp", "0"),
        default("ecn", "\"none\""),
        optional("mtu", "1442", "what the underlay's MTU leaves"),
        default("addresses", "[]"),
        optional("ospf", "true", "`true` when there is `[ospf]`"),
        optional("area", "\"0.0.0.1\"", "`area` of `[ospf]`"),
        optional("cost", "10", "`cost` of `[ospf]`"),
        optional("bfd", "\"50x3\"", "`bfd` of `[ospf]`"),
        optional("peer_router_id", "\"10.0.0.9\"", "any"),
        optional("peer_prefixes", "[\"2001:db8::9/128\"]", "none"),
        default("ospf_network", "\"point-to-point\""),
        default("ospf_priority", "1"),
        optional(
            "ospf_key_file",
            "\"/etc/l2ha/client.ospf\"",
            "`[[ospf_keys]]`",
        ),
        default("ospf_key_id", "1"),
        optional(
            "ospf_key_previous_file",
            "\"/etc/l2ha/client.ospf.old\"",
            "only the present key",
        ),
        default("ospf_key_previous_id", "1"),
        optional("bfd_key_file", "\"/etc/l2ha/client.bfd\"", "`[[bfd_keys]]`"),
        default("bfd_key_id", "1"),
        optional(
            "bfd_key_previous_file",
            "\"/etc/l2ha/client.bfd.old\"",
            "only the present key",
        ),
        default("bfd_key_previous_id", "1"),
    ],
};

pub(crate) const OSPF: Table = Table {
    name: "ospf",
    several: false,
    keys: &[
        required("router_id", "\"10.0.0.1\""),
        default("area", "\"0.0.0.0\""),
        default("hello_interval", "1"),
        optional("dead_interval", "4", "four times `hello_interval`"),
        default("cost", "10"),
        default("bfd", "\"off\""),
        default("instance_id", "0"),
        optional(
            "ipv4",
            "true",
            "`true` when a service or `addresses` of `[node]` has an IPv4 address",
        ),
        default("ipv4_instance_id", "64"),
        default("retransmit_interval", "5"),
        default("table", "254"),
        default("route_metric", "20"),
        default("redistribute", "[]"),
        default("redistribute_metric", "20"),
        default("redistribute_type", "2"),
        default("redistribute_only", "[]"),
        default("accept_default", "false"),
        default("accept", "[]"),
        default("graceful_restart", "120"),
        default("graceful_helper", "true"),
        default("graceful_strict", "true"),
    ],
};

pub(crate) const OSPF_AREAS: Table = Table {
    name: "ospf_areas",
    several: true,
    keys: &[
        required("area", "\"0.0.0.1\""),
        default("stub", "false"),
        default("default_cost", "10"),
        default("no_summary", "false"),
    ],
};

pub(crate) const OSPF_KEYS: Table = Table {
    name: "ospf_keys",
    several: true,
    keys: &[
        required("id", "1"),
        default("algorithm", "\"hmac-sha-256\""),
        required("secret_file", "\"/etc/l2ha/ospf.key\""),
        default("protocol_id", "\"auto\""),
        default("tunnels", "[]"),
        optional("send_from", "\"2027-01-31T12:00:00Z\"", "always"),
        optional("send_until", "\"2028-01-31T12:00:00Z\"", "for ever"),
        optional("accept_from", "\"2027-01-31T11:00:00Z\"", "always"),
        optional("accept_until", "\"2028-01-31T13:00:00Z\"", "for ever"),
    ],
};

pub(crate) const BFD_KEYS: Table = Table {
    name: "bfd_keys",
    several: true,
    keys: &[
        required("id", "1"),
        default("algorithm", "\"meticulous-keyed-sha1\""),
        required("secret_file", "\"/etc/l2ha/bfd.key\""),
        default("tunnels", "[]"),
    ],
};

pub(crate) const SERVICES: Table = Table {
    name: "services",
    several: true,
    keys: &[
        required("name", "\"web\""),
        required("address", "\"2001:db8::80\""),
        default("metric", "0"),
        optional("check", "{ tcp = \"[2001:db8::80]:80\" }", "no check"),
        default("when_failed", "\"last-resort\""),
        default("on_change", "[]"),
    ],
};

/// `check` of `[[services]]`: a table within a table.
pub const CHECK: Table = Table {
    name: "services.check",
    several: true,
    keys: &[
        optional("tcp", "\"[2001:db8::80]:80\"", "no such check"),
        optional("http", "\"http://[2001:db8::80]/\"", "no such check"),
        optional("status", "\"200-399\"", "`\"200-399\"`"),
        optional("body", "\"ok\"", "any text"),
        optional("verify", "\"certificate\"", "`\"certificate\"`"),
        optional("exec", "[\"/usr/local/bin/check-web\"]", "no such check"),
        optional("unit", "\"nginx.service\"", "no such check"),
        default("interval", "\"1s\""),
        default("timeout", "\"1s\""),
        default("fall", "2"),
        default("rise", "3"),
    ],
};
