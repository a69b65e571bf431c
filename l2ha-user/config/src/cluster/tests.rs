//! Cluster files, good and bad, and what they come to.

mod mistakes;
mod vectors;

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{Config, ConfigErrors, Expanded, Tunnel, Which, node_key};

use super::{CLUSTER, MEMBER, PAIR, Who};

/// The page, whose first example is the trial's cluster.
const PAGE: &str = include_str!("../../../../docs/cluster.md");

/// The page of the gateways.
const GATEWAYS: &str = include_str!("../../../../docs/gateways.md");

/// The example of the page.
fn example() -> &'static str {
    let (_, rest) = PAGE.split_once("```toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

/// A folder with a cluster file and its secret.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new(text: &str) -> Self {
        let host = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(host.file(), text.replace("/etc/l2ha/", "")).unwrap();
        let secret: String = (0..32u8).map(|byte| format!("{byte:02x}")).collect();
        host.secret("cluster.key", &secret);
        host
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("l2ha.toml")
    }

    fn secret(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn load(&self, who: &Who) -> Result<Config, ConfigErrors> {
        Config::load(&self.file(), who)
    }

    /// What the node of this name and address gets.
    fn node(&self, name: &str, address: &str) -> Config {
        let config = self.load(&host(address));
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.node.name, name);
        config
    }
}

/// A host with this address.
fn host(address: &str) -> Who {
    Who {
        node: None,
        addresses: vec![
            ("lo".to_owned(), "::1".parse().unwrap()),
            ("ens5".to_owned(), address.parse().unwrap()),
        ],
    }
}

fn tunnel<'a>(config: &'a Config, name: &str) -> &'a Tunnel {
    let found = config.tunnels.iter().find(|tunnel| tunnel.name == name);
    found.unwrap_or_else(|| panic!("{} has no tunnel to {name}", config.node.name))
}

/// Two ends of a tunnel fit together.
fn fit(one: &Config, other: &Config) {
    let (here, there) = (tunnel(one, &other.node.name), tunnel(other, &one.node.name));
    assert_eq!((here.local, here.remote), (there.remote, there.local));
    assert_eq!(here.session_id, there.peer_session_id);
    assert_eq!(here.peer_session_id, there.session_id);
    assert_eq!(here.send_cookie, there.receive_cookie);
    assert_eq!(here.receive_cookie, there.send_cookie);
    assert_eq!(here.send_cookie.size(), 8);
    assert_ne!(here.send_cookie, here.receive_cookie);
    assert_eq!(here.mtu, there.mtu);
    let (keys, others) = (one.key_chain(here), other.key_chain(there));
    assert!(keys.is_some() && keys == others);
    let keys = one.bfd_keys(here);
    assert!(!keys.is_empty() && keys == other.bfd_keys(there));
}

const TRIAL: [(&str, &str); 5] = [
    ("server-1", "10.0.0.1"),
    ("server-2", "10.0.0.2"),
    ("server-3", "10.0.0.3"),
    ("client-1", "10.0.0.9"),
    ("client-2", "10.0.0.10"),
];

#[test]
fn the_trials_cluster_fits_together() {
    let file = Host::new(example());
    let nodes: Vec<Config> = TRIAL
        .iter()
        .map(|(name, address)| file.node(name, address))
        .collect();
    for (at, one) in nodes.iter().enumerate() {
        for other in &nodes[at + 1..] {
            match one.node.name.starts_with("client") && other.node.name.starts_with("client") {
                true => assert!(
                    one.tunnels
                        .iter()
                        .all(|tunnel| tunnel.name != other.node.name)
                ),
                false => fit(one, other),
            }
            assert_ne!(
                one.ospf.as_ref().unwrap().router_id,
                other.ospf.as_ref().unwrap().router_id
            );
            assert_ne!(one.own_addresses, other.own_addresses);
        }
        assert_eq!(one.underlay.interface, "ens5");
        assert!(
            one.tunnels
                .iter()
                .all(|it| it.ospf.is_some_and(|ospf| ospf.bfd.is_some()))
        );
        assert_eq!(one.notes(), Vec::<String>::new());
    }
    let counts: Vec<usize> = nodes.iter().map(|it| it.tunnels.len()).collect();
    assert_eq!(counts, [4, 4, 4, 3, 3]);
    // In the order of preference.
    let metrics =
        |config: &Config| -> Vec<u16> { config.services.iter().map(|it| it.metric).collect() };
    assert_eq!(metrics(&nodes[0]), [0]);
    assert_eq!(metrics(&nodes[1]), [1]);
    assert_eq!(metrics(&nodes[2]), [2]);
    assert!(metrics(&nodes[3]).is_empty());
    // What one node has of its own is its alone.
    let cost = |config: &Config, to: &str| tunnel(config, to).ospf.unwrap().cost;
    assert_eq!(cost(&nodes[1], "client-1"), 20);
    assert_eq!(cost(&nodes[3], "server-2"), 10);
}

#[test]
fn few_lines_are_written() {
    let lines = |text: &str| {
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .count()
    };
    assert!(lines(example()) <= 16, "{}", lines(example()));
    let mut text =
        "[cluster]\nname = \"shop\"\nsecret_file = \"cluster.key\"\n[cluster.servers]\n".to_owned();
    for n in 1..=10 {
        text += &format!("server-{n} = \"10.0.0.{n}\"\n");
    }
    text += "[cluster.clients]\n";
    for n in 1..=20 {
        text += &format!("client-{n} = \"10.0.1.{n}\"\n");
    }
    text += "[[services]]\nname = \"web\"\naddress = \"2001:db8::80\"\n";
    assert!(lines(&text) <= 45, "{}", lines(&text));
    let file = Host::new(&text);
    assert_eq!(file.node("server-10", "10.0.0.10").tunnels.len(), 29);
    assert_eq!(file.node("client-20", "10.0.1.20").tunnels.len(), 10);
    // The file and the secret.
    assert_eq!(fs::read_dir(file.folder.path()).unwrap().count(), 2);
}

/// Writes what `expanded` has into a folder; the file in it.
fn written(expanded: &Expanded, folder: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    for (name, text) in &expanded.files {
        let path = folder.join(name);
        fs::write(&path, text.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let file = folder.join("l2ha.toml");
    fs::write(&file, &expanded.text).unwrap();
    file
}

#[test]
fn the_expanded_file_means_the_same() {
    let beside = "\n[node]\nrun_dir = \"/run/here\"\n[underlay]\nmode = \"tc\"\n[ospf]\nhello_interval = 2\naccept = [\n  \"2001:db8::/32 ge 128\",\n]\n\
                  [[tunnels]]\nname = \"kernel\"\nremote = \"10.0.0.77\"\nsession_id = 7\npeer_session_id = 8\n\
                  [[services]]\nname = \"mail\"\naddress = \"2001:db8::25\"\nservers = [\"server-3\", \"server-1\"]\n\
                  metric = 5\n[[services.check]]\ntcp = \"[2001:db8::25]:25\"\n[[services.check]]\nunit = \"postfix.service\"\n";
    let file = Host::new(&format!("{}{beside}", example()));
    for (name, address) in TRIAL {
        let direct = file.node(name, address);
        let all = Expanded::load(&file.file(), Which::One(&host(address))).unwrap();
        let [one] = &all[..] else { panic!("one node") };
        let secrets: Vec<&str> = one.files.values().map(|secret| secret.as_str()).collect();
        assert!(secrets.iter().all(|secret| !one.text.contains(secret)));
        let again = Config::load(
            &written(one, &file.folder.path().join(name)),
            &Who::default(),
        );
        assert_eq!(again.unwrap_or_else(|errors| panic!("{errors}")), direct);
        assert_eq!(
            direct
                .tunnels
                .iter()
                .filter(|it| it.name == "kernel")
                .count(),
            1
        );
        assert_eq!(direct.ospf.as_ref().unwrap().hello_interval, 2);
        let mail = direct.services.iter().find(|it| it.name == "mail");
        let metric = mail.map(|it| (it.metric, it.checks.len()));
        let expected = match name {
            "server-3" => Some((5, 2)),
            "server-1" => Some((6, 2)),
            _ => None,
        };
        assert_eq!(metric, expected, "{name}");
    }
    let all = Expanded::load(&file.file(), Which::All(&host("192.0.2.1"))).unwrap();
    let names: Vec<&str> = all.iter().map(|it| it.node.as_str()).collect();
    assert_eq!(names, TRIAL.map(|(name, _)| name));
}

#[test]
fn a_client_does_with_its_own_key() {
    let server = Host::new(example());
    let key = node_key(&server.file(), "client-1").unwrap();
    let client = Host::new(example());
    client.secret("cluster.key", &key);
    assert_eq!(
        client.node("client-1", "10.0.0.9"),
        server.node("client-1", "10.0.0.9")
    );
    fit(
        &client.node("client-1", "10.0.0.9"),
        &server.node("server-2", "10.0.0.2"),
    );
    // It says nothing of others.
    let other = client.node("client-2", "10.0.0.10");
    let right = server.node("client-2", "10.0.0.10");
    for (one, other) in other.tunnels.iter().zip(&right.tunnels) {
        assert_ne!(one.send_cookie, other.send_cookie);
    }
    let errors = client.load(&host("10.0.0.1")).unwrap_err();
    assert!(
        errors.to_string().contains("is the key of one node"),
        "{errors}"
    );
    for (node, what) in [
        ("server-1", "is a server"),
        ("nobody", "no node of this cluster"),
    ] {
        let errors = node_key(&server.file(), node).unwrap_err();
        assert!(errors.to_string().contains(what), "{errors}");
    }
    let errors = node_key(&client.file(), "client-2").unwrap_err();
    assert!(
        errors.to_string().contains("make it on a server"),
        "{errors}"
    );
}

#[test]
fn a_former_secret_is_accepted() {
    let text = example().replace(
        "secret_file = \"/etc/l2ha/cluster.key\"",
        "secret_file = \"new.key\"\nsecret_previous_file = \"cluster.key\"",
    );
    let file = Host::new(&text);
    file.secret("new.key", &"5a".repeat(32));
    let before = Host::new(example());
    let (new, old) = (
        file.node("server-1", "10.0.0.1"),
        before.node("server-1", "10.0.0.1"),
    );
    for (new, old) in new.tunnels.iter().zip(&old.tunnels) {
        assert_eq!(new.previous_cookie, Some(old.receive_cookie.clone()));
        assert_eq!(new.previous_send_cookie, Some(old.send_cookie.clone()));
        assert_ne!(new.receive_cookie, old.receive_cookie);
        assert_eq!(new.session_id, old.session_id);
    }
    let keys = |config: &Config| config.key_chain(tunnel(config, "client-1")).unwrap().keys;
    assert_eq!(keys(&new).len(), 2);
    assert_eq!(keys(&new)[1], keys(&old)[0]);
    assert_eq!(
        new.bfd_keys(tunnel(&new, "client-1"))[1],
        old.bfd_keys(tunnel(&old, "client-1"))[0]
    );
}

#[test]
fn which_node_this_is() {
    let file = Host::new(example());
    let named = |name: &str| Who {
        node: Some(name.to_owned()),
        ..host("10.0.0.1")
    };
    assert_eq!(file.load(&named("server-1")).unwrap().node.name, "server-1");
    for (who, what) in [
        (
            host("10.0.0.77"),
            "none of this host's addresses is that of a node (10.0.0.77)",
        ),
        (named("server-9"), "`server-9` is no node of this cluster"),
        (
            named("server-2"),
            "this host does not have the address of `server-2`, 10.0.0.2",
        ),
    ] {
        let errors = file.load(&who).unwrap_err();
        assert!(errors.to_string().contains(what), "{errors}");
    }
    let mut both = host("10.0.0.1");
    both.addresses
        .push(("ens6".to_owned(), "10.0.0.2".parse().unwrap()));
    let errors = file.load(&both).unwrap_err();
    assert!(
        errors.to_string().contains("`server-1` and `server-2`"),
        "{errors}"
    );
    // Behind a translation of addresses.
    let behind = example().replace(
        "\"10.0.0.9\"",
        "{ address = \"198.51.100.9\", interface = \"eth0\", local_addresses = [\"10.1.0.4\"] }",
    );
    let file = Host::new(&behind);
    let who = Who {
        node: Some("client-1".to_owned()),
        ..host("10.1.0.4")
    };
    let client = file.load(&who).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        client.underlay.addresses,
        ["10.1.0.4".parse::<IpAddr>().unwrap()]
    );
    let server = file.node("server-1", "10.0.0.1");
    assert_eq!(
        tunnel(&server, "client-1").remote,
        "198.51.100.9".parse::<IpAddr>().unwrap()
    );
}

#[test]
fn what_both_ends_need_is_said_once() {
    let text = example()
        .replace("[cluster.servers]", "mtu = 1500\n[cluster.servers]")
        .replace("server-1 = \"10.0.0.1\"", "server-1 = { addresses = [\"10.0.0.1\", \"2001:db8:77::1\"], mtu = 8900, bfd = \"20x3\" }")
        .replace("client-1 = \"10.0.0.9\"", "client-1 = { address = \"2001:db8:77::9\", port = 1800 }")
        .replace("address = \"10.0.0.2\"", "addresses = [\"10.0.0.2\", \"2001:db8:77::2\"]")
        .replace("server-3 = \"10.0.0.3\"", "server-3 = { addresses = [\"10.0.0.3\", \"2001:db8:77::3\"], mtu = 8900 }")
        .replace("[[services]]", "[cluster.pairs]\n\"client-1 server-1\" = { cost = 99, bfd = \"off\" }\n\n[[services]]");
    let file = Host::new(&text);
    let one = file.node("server-1", "10.0.0.1");
    let three = file.node("server-3", "10.0.0.3");
    let client = file.node("client-1", "2001:db8:77::9");
    fit(&one, &three);
    assert_eq!(tunnel(&one, "server-3").mtu, Some(8900 - 58));
    assert_eq!(tunnel(&client, "server-1").mtu, Some(1500 - 78));
    assert_eq!(
        tunnel(&client, "server-1").mtu,
        tunnel(&one, "client-1").mtu
    );
    let timers = |config: &Config, to: &str| {
        tunnel(config, to)
            .ospf
            .unwrap()
            .bfd
            .map(|bfd| bfd.interval.as_millis())
    };
    assert_eq!(timers(&one, "server-3"), Some(20));
    assert_eq!(timers(&three, "server-1"), Some(20));
    assert_eq!(timers(&three, "client-1"), Some(50));
    assert_eq!(
        (timers(&one, "client-1"), timers(&client, "server-1")),
        (None, None)
    );
    assert!(one.bfd_keys(tunnel(&one, "client-1")).is_empty());
    assert_eq!(tunnel(&client, "server-1").ospf.unwrap().cost, 99);
    assert_eq!(tunnel(&one, "client-1").ospf.unwrap().cost, 99);
    let ports = format!("{:?}", tunnel(&three, "client-1").encapsulation);
    assert!(ports.contains("1701") && ports.contains("1800"), "{ports}");
}

#[test]
fn a_gateway_leads_to_other_networks() {
    let beside = "[cluster.gateways]\ngateway-1 = { address = \"10.0.0.20\", prefixes = [\"2001:db8:9::/48 le 64\"] }\n\
                  gateway-2 = \"10.0.0.21\"\n[ospf]\nredistribute = [\"static\"]\nredistribute_metric = 7\n";
    let file = Host::new(&format!("{}{beside}", example()));
    let one = file.node("gateway-1", "10.0.0.20");
    let names: Vec<&str> = one.tunnels.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["server-1", "server-2", "server-3"]);
    assert!(one.services.is_empty());
    let redistribute = |config: &Config| config.ospf.as_ref().unwrap().redistribute.clone();
    let found = redistribute(&one);
    assert!(found.connected && found.statics && found.metric == 7);
    let [only] = &found.only[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (only.prefix.to_string().as_str(), only.lengths.clone()),
        ("2001:db8:9::/48", 48..=64)
    );
    // The others do what `[ospf]` says.
    for (name, address) in [("gateway-2", "10.0.0.21"), ("client-1", "10.0.0.9")] {
        let found = redistribute(&file.node(name, address));
        assert!(!found.connected && found.statics && found.only.is_empty());
    }
    fit(&one, &file.node("server-2", "10.0.0.2"));
    // As the page has it.
    let (_, shown) = GATEWAYS.split_once("```toml\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let page = Host::new(&format!("{}{shown}", example()));
    assert_eq!(
        redistribute(&page.node("gateway-2", "10.0.0.21"))
            .only
            .len(),
        2
    );
    // It does with its own key, as a client.
    let own = Host::new(&format!("{}{beside}", example()));
    own.secret("cluster.key", &node_key(&file.file(), "gateway-1").unwrap());
    assert_eq!(own.node("gateway-1", "10.0.0.20"), one);
}

#[test]
fn ipv4_is_routed_by_all_or_none() {
    let ipv4 = |text: &str| -> Vec<bool> {
        let file = Host::new(text);
        let nodes = [("server-1", "10.0.0.1"), ("client-2", "10.0.0.10")];
        let routed = nodes.map(|(name, address)| file.node(name, address).ospf.unwrap().ipv4);
        routed.iter().map(Option::is_some).collect()
    };
    assert_eq!(ipv4(example()), [false, false]);
    let service = example().replace("address = \"2001:db8::80\"", "address = \"192.0.2.80\"");
    assert_eq!(ipv4(&service), [true, true]);
    let node = example().replace("cost = 20", "ipv4 = \"192.0.2.2\"");
    assert_eq!(ipv4(&node), [true, true]);
}

#[test]
fn the_page_describes_every_key() {
    for table in [CLUSTER, MEMBER, PAIR] {
        for key in table.keys {
            assert!(
                PAGE.contains(&format!("`{}`", key.name)),
                "{} of {}",
                key.name,
                table.name
            );
        }
    }
}
