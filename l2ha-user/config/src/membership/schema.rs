//! The keys of `[membership]`.

use crate::schema::{Table, default, optional, required};

/// `[membership]`.
pub const MEMBERSHIP: Table = Table {
    name: "membership",
    several: false,
    keys: &[
        required("etcd", "[\"https://10.0.0.5:2379\"]"),
        optional(
            "prefix",
            "\"/l2ha/shop/\"",
            "`/l2ha/`, the cluster's name, and `/`",
        ),
        optional(
            "ca_file",
            "\"/etc/l2ha/etcd-ca.pem\"",
            "the authorities that this host trusts",
        ),
        optional(
            "cert_file",
            "\"/etc/l2ha/etcd.pem\"",
            "no certificate of this node's",
        ),
        optional(
            "key_file",
            "\"/etc/l2ha/etcd.key\"",
            "no certificate of this node's",
        ),
        optional("user", "\"l2ha\"", "no user"),
        optional(
            "password_file",
            "\"/etc/l2ha/etcd.password\"",
            "no password",
        ),
        default("lease", "\"30s\""),
        default("forget_after", "\"7d\""),
        default("state_dir", "\"/var/lib/l2ha\""),
        optional(
            "grants",
            "{ \"web-*\" = { role = \"server\", services = [\"web\"] } }",
            "nobody can join",
        ),
    ],
};

/// What nodes of some names may be, in `[membership.grants]`.
pub const GRANT: Table = Table {
    name: "membership.grants.NAMES",
    several: false,
    keys: &[
        required("role", "\"server\""),
        optional("services", "[\"web\"]", "none"),
    ],
};

/// What `[node]` has in a file with `[membership]`: what this node joins as.
pub const JOINER: Table = Table {
    name: "node",
    several: false,
    keys: &[
        optional("role", "\"server\"", "what `l2ha join --role` says"),
        optional("services", "[\"web\"]", "none"),
        optional(
            "address",
            "\"10.0.0.4\"",
            "the address from which etcd is reached",
        ),
    ],
};
