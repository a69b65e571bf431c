//! The values of docs/cluster.md.

use std::collections::BTreeMap;

use super::{
    super::derive::{PairKeys, Public, Secret},
    *,
};

#[test]
fn the_pages_values_are_derived() {
    let (_, table) = PAGE.split_once("For the cluster `shop`").unwrap();
    let rows = table.lines().filter_map(|line| {
        let (what, value) = line
            .strip_prefix("| ")?
            .strip_suffix(" |")?
            .split_once(" | ")?;
        Some((what, value.to_owned()))
    });
    let rows: BTreeMap<&str, String> = rows
        .filter(|(what, _)| *what != "What" && *what != "---")
        .collect();

    let public = Public::new("shop");
    let secret = Secret::new(&std::array::from_fn(|at| at as u8), "shop");
    let key = secret.node_key("shop", "client-1");
    let pair: PairKeys = key.with_server("server-1");
    let servers = secret.alike("shop", "server-2", "server-1");
    let derived = BTreeMap::from([
        (
            "session id, `server-1` to `client-1`",
            public.session_id("server-1", "client-1").to_string(),
        ),
        (
            "session id, `client-1` to `server-1`",
            public.session_id("client-1", "server-1").to_string(),
        ),
        (
            "router id of `server-1`",
            public.router_id("server-1").to_string(),
        ),
        (
            "address of `server-1`",
            public.address("server-1").to_string(),
        ),
        (
            "interface to `a-long-name-1`",
            format!("l2-a-lon-{}", public.interface_digits("a-long-name-1")),
        ),
        ("key of `client-1`", key.hex().to_string()),
        (
            "cookie, `client-1` to `server-1`",
            pair.cookie("client-1", "server-1").to_string(),
        ),
        (
            "cookie, `server-1` to `client-1`",
            pair.cookie("server-1", "client-1").to_string(),
        ),
        (
            "cookie, `server-1` to `server-2`",
            servers.cookie("server-1", "server-2").to_string(),
        ),
        (
            "OSPF, `server-1` and `client-1`",
            format!("{} {}", pair.sa_id(), *pair.ospf()),
        ),
        (
            "BFD, `server-1` and `client-1`",
            format!("{} {}", pair.bfd_id(), *pair.bfd()),
        ),
    ]);
    assert_eq!(derived, rows);
}
