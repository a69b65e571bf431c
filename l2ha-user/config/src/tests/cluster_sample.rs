//! docs/l2ha-cluster.toml has every key of a cluster, and is good.

use std::collections::BTreeSet;

use toml::Table as Toml;

use super::*;

const SAMPLE: &str = include_str!("../../../../docs/l2ha-cluster.toml");

/// The keys of these tables.
fn keys<'a>(tables: impl IntoIterator<Item = &'a toml::Value>) -> BTreeSet<&'a str> {
    let tables = tables.into_iter().filter_map(toml::Value::as_table);
    tables.flat_map(Toml::keys).map(String::as_str).collect()
}

/// Those that can be.
fn known(table: &Table) -> BTreeSet<&'static str> {
    table.keys.iter().map(|key| key.name).collect()
}

#[test]
fn the_clusters_sample_has_every_key() {
    let sample: Toml = SAMPLE.parse().unwrap();
    let cluster = &sample["cluster"];
    assert_eq!(keys([cluster]), known(&CLUSTER));
    let members = ["servers", "clients", "gateways"].map(|role| cluster[role].as_table().unwrap());
    let members = members.into_iter().flat_map(Toml::values);
    assert_eq!(keys(members), known(&MEMBER));
    let pairs = cluster["pairs"].as_table().unwrap();
    assert_eq!(keys(pairs.values()), known(&PAIR));
    let services = sample["services"].as_array().unwrap();
    assert!(keys(services).is_superset(&["servers", "share"].into()));
    for key in CLUSTER.keys {
        if let Absent::Default(value) = key.absent {
            let line = format!("\n{} = {value}\n", key.name);
            assert!(SAMPLE.contains(&line), "the default: {line}");
        }
    }
}

#[test]
fn the_clusters_sample_is_good_for_every_node() {
    let folder = tempfile::tempdir().unwrap();
    for (name, digit) in [("cluster.key", "1"), ("cluster.old.key", "2")] {
        let path = folder.path().join(name);
        fs::write(&path, digit.repeat(64)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let file = folder.path().join("l2ha.toml");
    fs::write(&file, SAMPLE.replace("/etc/l2ha/", "")).unwrap();
    let all = Expanded::load(&file, Which::All(&Who::default()));
    let all = all.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(all.len(), 5);
    let host = Who {
        node: None,
        addresses: vec![("eth0".to_owned(), "10.1.0.4".parse().unwrap())],
    };
    let server = Config::load(&file, &host).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        (server.node.name.as_str(), server.tunnels.len()),
        ("server-1", 4)
    );
    assert_eq!(server.services.len(), 2);
}
