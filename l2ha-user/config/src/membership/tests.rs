//! Clusters that nodes join.

use std::{fs, net::IpAddr, path::Path};

use tempfile::TempDir;

use super::{Grant, Joined, SetAside};
use crate::{
    cluster::{Role, Who},
    expanded::{Expanded, Which},
    types::Config,
};

/// A cluster of two servers that servers and clients can join.
const FILE: &str = r#"
[cluster]
name = "shop"
secret_file = "secret"

[cluster.servers]
server-1 = "10.0.0.1"
server-2 = "10.0.0.2"

[membership]
etcd = ["http://10.0.0.5:2379"]
state_dir = "."

[membership.grants]
"web-*" = { role = "server", services = ["web"] }
"app-*" = { role = "client" }

[[services]]
name = "web"
address = "2001:db8::80"

[[services]]
name = "db"
address = "2001:db8::53"
"#;

fn joined(name: &str, role: Role, address: &str, services: &[&str]) -> Joined {
    Joined {
        name: name.to_owned(),
        role,
        addresses: vec![address.parse().unwrap()],
        local_addresses: Vec::new(),
        interface: None,
        port: None,
        mtu: None,
        services: services.iter().map(|it| (*it).to_owned()).collect(),
    }
}

/// The folder of a node with this file and list.
fn node(text: &str, own: Option<&str>, members: &[Joined]) -> TempDir {
    #[derive(serde::Serialize)]
    struct List<'a> {
        members: &'a [Joined],
    }
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("l2ha.toml"), text).unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "00".repeat(32)).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let list = toml::to_string(&List { members }).unwrap();
    fs::write(folder.path().join("members.toml"), list).unwrap();
    if let Some(own) = own {
        let own = format!("name = \"{own}\"\n");
        fs::write(folder.path().join("self.toml"), own).unwrap();
    }
    folder
}

fn load(folder: &Path, address: &str) -> Config {
    let who = Who {
        node: None,
        addresses: vec![("eth0".to_owned(), address.parse::<IpAddr>().unwrap())],
    };
    Config::load(&folder.join("l2ha.toml"), &who).unwrap_or_else(|errors| panic!("{errors}"))
}

fn tunnels(config: &Config) -> Vec<&str> {
    config.tunnels.iter().map(|it| it.name.as_str()).collect()
}

fn reason(config: &Config, name: &str) -> String {
    let membership = config.membership.as_ref().unwrap();
    let mut aside = membership.set_aside.iter();
    let aside: Option<&SetAside> = aside.find(|it| it.name == name);
    aside.map_or_else(|| panic!("{name} is not set aside"), |it| it.reason.clone())
}

#[test]
fn who_joins_is_a_node_like_those_of_the_file() {
    let members = [
        joined("app-1", Role::Client, "10.0.0.40", &[]),
        joined("web-7", Role::Server, "10.0.0.30", &["web"]),
    ];
    let folder = node(FILE, None, &members);
    let config = load(folder.path(), "10.0.0.1");
    assert_eq!(config.node.name, "server-1");
    assert_eq!(tunnels(&config), ["server-2", "web-7", "app-1"]);
    assert_eq!(config.services.len(), 2);
    assert_eq!(config.membership.unwrap().set_aside, []);

    let folder = node(FILE, Some("web-7"), &members);
    let config = load(folder.path(), "10.0.0.30");
    assert_eq!(config.node.name, "web-7");
    assert_eq!(tunnels(&config), ["server-1", "server-2", "app-1"]);
    let services: Vec<(&str, u16)> = config
        .services
        .iter()
        .map(|it| (it.name.as_str(), it.metric))
        .collect();
    assert_eq!(services, [("web", 2)], "behind both of the file");

    let folder = node(FILE, Some("app-1"), &members);
    let config = load(folder.path(), "10.0.0.40");
    assert_eq!(tunnels(&config), ["server-1", "server-2", "web-7"]);
}

#[test]
fn both_ends_come_to_the_same_whichever_way_a_node_is_told() {
    let members = [joined("web-7", Role::Server, "10.0.0.30", &["web"])];
    let with_list = node(FILE, None, &members);
    let told = FILE.replace("[membership]", "web-7 = \"10.0.0.30\"\n\n[membership]");
    let told = told.replace(
        "name = \"web\"",
        "name = \"web\"\nservers = [\"server-1\", \"server-2\"]",
    );
    let told = told.replace(
        "name = \"db\"",
        "name = \"db\"\nservers = [\"server-1\", \"server-2\"]",
    );
    let with_line = node(&told, None, &[]);
    let one = load(with_list.path(), "10.0.0.1");
    let other = load(with_line.path(), "10.0.0.1");
    assert_eq!(one.tunnels, other.tunnels);
    assert_eq!(one.services, other.services);
}

#[test]
fn what_is_not_granted_or_does_not_fit_is_set_aside_and_harms_nobody() {
    let mut bad_mtu = joined("web-5", Role::Server, "10.0.0.35", &[]);
    bad_mtu.mtu = Some(100);
    let mut two = joined("web-6", Role::Server, "10.0.0.36", &[]);
    two.addresses.push("10.0.0.37".parse().unwrap());
    let members = [
        joined("web-1", Role::Server, "10.0.0.31", &["web"]),
        joined("server-1", Role::Server, "10.0.0.66", &[]),
        joined("web-2", Role::Server, "10.0.0.2", &[]),
        joined("web-3", Role::Server, "10.0.0.31", &[]),
        joined("web-4", Role::Server, "10.0.0.34", &["db"]),
        bad_mtu,
        two,
        joined("web-7", Role::Server, "ff02::1", &[]),
        joined("web-8", Role::Client, "10.0.0.38", &[]),
        joined("other", Role::Server, "10.0.0.39", &[]),
        joined("we\" = {}\n[servers.x]", Role::Server, "10.0.0.41", &[]),
        joined("web-9", Role::Server, "2001:db8:77::9", &["web"]),
        joined("app-1", Role::Client, "10.0.0.40", &[]),
    ];
    let folder = node(FILE, None, &members);
    let config = load(folder.path(), "10.0.0.1");
    assert_eq!(tunnels(&config), ["server-2", "web-1", "app-1"]);
    for (name, what) in [
        ("server-1", "the file has a node of this name"),
        ("web-2", "10.0.0.2 is the address of `server-2`"),
        ("web-3", "is already used"),
        ("web-4", "does not have the service `db`"),
        ("web-5", "100 is not in 1280"),
        ("web-6", "is a second address of its family"),
        ("web-7", "no host can be reached at it"),
        ("web-8", "it says that it is a client"),
        ("other", "no name in [membership.grants]"),
        ("we\" = {}\n[servers.x]", "cannot be in this name"),
        ("web-9", "no family of addresses in common"),
    ] {
        let reason = reason(&config, name);
        assert!(reason.contains(what), "{name}: {reason}");
    }
    let told = |note: &&String| note.contains("is not taken");
    assert_eq!(config.notes().iter().filter(told).count(), 11);
    let who = Who::default();
    let all = Expanded::load(&folder.path().join("l2ha.toml"), Which::All(&who));
    let names: Vec<String> = all.unwrap().into_iter().map(|it| it.node).collect();
    assert_eq!(names, ["server-1", "server-2", "web-1", "app-1"]);
}

#[test]
fn a_host_that_joined_and_is_set_aside_is_told_why() {
    let members = [joined("web-4", Role::Server, "10.0.0.34", &["db"])];
    let folder = node(FILE, Some("web-4"), &members);
    let who = Who {
        node: None,
        addresses: vec![("eth0".to_owned(), "10.0.0.34".parse().unwrap())],
    };
    let errors = Config::load(&folder.path().join("l2ha.toml"), &who).unwrap_err();
    let errors = errors.to_string();
    assert!(
        errors.contains("does not have the service `db`"),
        "{errors}"
    );
    assert!(errors.contains("l2ha join"), "{errors}");
}

#[test]
fn a_list_that_cannot_be_read_is_a_mistake_with_a_remedy() {
    let folder = node(FILE, None, &[]);
    let list = folder.path().join("members.toml");
    for text in ["members = 7\n", "\u{0}", "[[members]]\nname = \"x\"\n"] {
        fs::write(&list, text).unwrap();
        let who = Who {
            node: Some("server-1".to_owned()),
            addresses: vec![("eth0".to_owned(), "10.0.0.1".parse().unwrap())],
        };
        let errors = Config::load(&folder.path().join("l2ha.toml"), &who).unwrap_err();
        assert_eq!(errors.errors().len(), 1, "{errors}");
        assert!(errors.to_string().contains("cannot be read"), "{errors}");
    }
    fs::remove_file(&list).unwrap();
    assert_eq!(tunnels(&load(folder.path(), "10.0.0.1")), ["server-2"]);
}

#[test]
fn patterns_stand_for_any_characters() {
    let fits = |names: &str, name: &str| {
        let grant = Grant {
            names: names.to_owned(),
            role: Role::Server,
            services: Vec::new(),
        };
        grant.fits(name)
    };
    for (names, name) in [
        ("web-1", "web-1"),
        ("*", "web-1"),
        ("web-*", "web-1"),
        ("web-*", "web-"),
        ("*-1", "web-1"),
        ("w*b*1", "web-1"),
        ("a*a", "aa"),
        ("a*b*a", "abba"),
    ] {
        assert!(fits(names, name), "{names} {name}");
    }
    for (names, name) in [
        ("web-1", "web-10"),
        ("web-*", "xweb-1"),
        ("*-1", "web-12"),
        ("a*a", "a"),
        ("w*b*1", "web-2"),
        ("", "a"),
    ] {
        assert!(!fits(names, name), "{names} {name}");
    }
}

#[test]
fn mistakes_have_a_line_and_a_remedy() {
    let sound = "[membership]\netcd = [\"http://10.0.0.5:2379\"]\n";
    let cases = [
        ("[membership]\n", "add `etcd"),
        ("[membership]\netcd = []\n", "write `etcd"),
        (
            "[membership]\netcd = [\"10.0.0.5\"]\n",
            "https://10.0.0.5:2379",
        ),
        (
            "[membership]\netcd = [\"https://10.0.0.5\"]\n",
            "https://10.0.0.5:2379",
        ),
        (
            "[membership]\netcd = [\"https://10.0.0.5:2379\"]\nca_fiel = \"x\"\n",
            "did you mean `ca_file`",
        ),
        ("{S}cert_file = \"a\"\n", "add `key_file"),
        ("{S}password_file = \"a\"\n", "add `user"),
        ("{S}lease = \"1s\"\n", "write `lease = \"5s\"`"),
        (
            "{S}forget_after = \"1y\"\n",
            "write `forget_after = \"7d\"`",
        ),
        (
            "{S}forget_after = \"1s\"\n",
            "write `forget_after = \"7d\"`",
        ),
        ("{S}prefix = \"\"\n", "write `prefix"),
        ("{S}grants = 1\n", "[membership.grants]"),
        ("{S}grants = { \"Web\" = { role = \"server\" } }\n", "web-*"),
        ("{S}grants = { web = 1 }\n", "role = \"server\""),
        ("{S}grants = { web = {} }\n", "add `role"),
        ("{S}grants = { web = { role = \"sevrer\" } }\n", "server"),
        (
            "{S}grants = { web = { role = \"client\", services = [\"web\"] } }\n",
            "remove it",
        ),
        ("{S}[node]\nrole = \"boss\"\n", "server"),
        ("{S}[node]\nservices = [\"web\"]\n", "add `role`"),
        ("{S}[node]\naddress = \"127.0.0.1\"\n", "address"),
    ];
    let at = FILE.find("[membership]").unwrap();
    let end = FILE.find("[[services]]").unwrap();
    for (text, remedy) in cases {
        let text = text.replace("{S}", sound);
        let file = format!("{}{text}\n{}", &FILE[..at], &FILE[end..]);
        let folder = node(&file, None, &[]);
        let who = Who {
            node: Some("server-1".to_owned()),
            addresses: vec![("eth0".to_owned(), "10.0.0.1".parse().unwrap())],
        };
        let errors = Config::load(&folder.path().join("l2ha.toml"), &who).unwrap_err();
        let line = file[..at].lines().count();
        assert!(errors.errors()[0].line.unwrap() > line, "{errors}");
        assert!(errors.to_string().contains(remedy), "{text}: {errors}");
    }
}

/// The page.
const PAGE: &str = include_str!("../../../../docs/membership.md");

#[test]
fn the_pages_example_is_good() {
    let (_, rest) = PAGE.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let example = example.replace("/etc/l2ha/cluster.key", "secret");
    let members = [joined("web-1", Role::Server, "10.0.0.31", &["web"])];
    let folder = node(&format!("{example}\n"), None, &[]);
    let file = folder.path().join("l2ha.toml");
    let text = example.replace("[membership]\n", "[membership]\nstate_dir = \".\"\n");
    fs::write(&file, text).unwrap();
    let list = toml::to_string(&std::collections::BTreeMap::from([("members", &members)])).unwrap();
    fs::write(folder.path().join("members.toml"), list).unwrap();
    let config = load(folder.path(), "10.0.0.1");
    assert_eq!(tunnels(&config), ["server-2", "web-1"]);
    let membership = config.membership.unwrap();
    assert_eq!(membership.prefix, "/l2ha/shop/");
    assert_eq!(membership.etcd.len(), 3);
    assert_eq!(membership.set_aside, []);
}

#[test]
fn the_page_has_every_key_and_its_default() {
    let tables = [
        ("## `[membership]`", &super::MEMBERSHIP),
        ("`[membership.grants]` has for each:", &super::GRANT),
        ("`[node]` can say what this node joins as", &super::JOINER),
    ];
    for (heading, table) in tables {
        let (_, below) = PAGE.split_once(heading).unwrap();
        let rows = below.lines().skip_while(|line| !line.starts_with("| `"));
        let rows = rows.take_while(|line| line.starts_with("| `"));
        let rows: Vec<Vec<&str>> = rows
            .map(|row| row.split('|').map(str::trim).collect())
            .collect();
        let names: Vec<&str> = rows.iter().map(|row| row[1].trim_matches('`')).collect();
        let known: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
        assert_eq!(names, known, "{heading}");
        for (row, key) in rows.iter().zip(table.keys) {
            let default = match key.absent {
                crate::schema::Absent::Refused => "required".to_owned(),
                crate::schema::Absent::Default(value) => format!("`{value}`"),
                crate::schema::Absent::Means(words) => words.to_owned(),
            };
            assert_eq!(row[3], default, "{}", key.name);
        }
    }
}
