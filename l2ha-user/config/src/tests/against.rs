//! Files of several nodes: from two that fit, each change of one line is found, and named at both places.

use std::path::PathBuf;

use super::*;

const SERVER: &str = r#"[node]
name = "server-1"
addresses = ["fd00:a::1"]

[underlay]
interface = "eth0"
addresses = ["10.77.0.1", "2001:db8:77::1"]

[ospf]
router_id = "10.0.0.1"
hello_interval = 1
dead_interval = 4
instance_id = 0
ipv4 = true
ipv4_instance_id = 64
bfd = "50x3"

[[tunnels]]
name = "client"
remote = "10.77.0.9"
local_port = 1701
remote_port = 1702
session_id = 1001
peer_session_id = 2001
receive_cookie_file = "/etc/l2ha/client.receive"
send_cookie_file = "/etc/l2ha/client.send"
sublayer = "default"
sequence = "both"
source_port = "flow"
ecn = "copy"
mtu = 1400
addresses = ["fd00:1::1/64"]
area = "0.0.0.1"
ospf_network = "point-to-point"

[[tunnels]]
name = "client-6"
remote = "2001:db8:77::9"
session_id = 1002
peer_session_id = 2002
udp_checksum = false

[[ospf_areas]]
area = "0.0.0.1"
stub = true

[[ospf_keys]]
id = 1
algorithm = "hmac-sha-256"
secret_file = "/etc/l2ha/ospf.key"
protocol_id = "network-order"
send_from = "2026-01-01T00:00:00Z"
accept_from = "2026-01-01T00:00:00Z"

[[bfd_keys]]
id = 7
algorithm = "meticulous-keyed-sha1"
secret_file = "/etc/l2ha/bfd.key"

[[services]]
name = "web"
address = "2001:db8::80"
when_failed = "withdraw"
check = { tcp = "[2001:db8::80]:80" }
"#;

const CLIENT: &str = r#"[node]
name = "client"
addresses = ["fd00:a::9"]

[underlay]
interface = "eth0"
addresses = ["10.77.0.9", "2001:db8:77::9"]

[ospf]
router_id = "10.0.0.9"
hello_interval = 1
dead_interval = 4
instance_id = 0
ipv4 = true
ipv4_instance_id = 64
bfd = "100x5"

[[tunnels]]
name = "server-6"
remote = "2001:db8:77::1"
session_id = 2002
peer_session_id = 1002
udp_checksum = false

[[tunnels]]
name = "server"
remote = "10.77.0.1"
local_port = 1702
remote_port = 1701
session_id = 2001
peer_session_id = 1001
receive_cookie_file = "keys/server.receive"
send_cookie_file = "keys/server.send"
sublayer = "default"
sequence = "both"
source_port = "flow"
ecn = "copy"
mtu = 1400
addresses = ["fd00:1::9/64"]
area = "0.0.0.1"
ospf_network = "point-to-point"

[[ospf_areas]]
area = "0.0.0.1"
stub = true

[[ospf_keys]]
id = 1
algorithm = "hmac-sha-256"
secret_file = "keys/ospf.key"
protocol_id = "network-order"
send_from = "2026-01-01T00:00:00Z"
accept_from = "2026-01-01T00:00:00Z"

[[bfd_keys]]
id = 7
algorithm = "meticulous-keyed-sha1"
secret_file = "keys/bfd.key"

[[services]]
name = "web"
address = "2001:db8::80"
when_failed = "withdraw"
check = { tcp = "[2001:db8::80]:80" }
"#;

const TO_CLIENT: &str = "1111000011110000";
const TO_SERVER: &str = "2222000022220000";
const OSPF_SECRET: &str = "3333-ospf-secret";
const BFD_SECRET: &str = "4444-bfd-secret";

fn secret(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Folders of two nodes, as they are copied together: the server's `/etc/l2ha`, the client's files in a folder.
struct Nodes(tempfile::TempDir);

impl Nodes {
    fn new() -> Self {
        let nodes = Self(tempfile::tempdir().unwrap());
        for (path, text) in [
            ("server/client.send", TO_CLIENT),
            ("server/client.receive", TO_SERVER),
            ("server/ospf.key", OSPF_SECRET),
            ("server/bfd.key", BFD_SECRET),
            ("client/keys/server.receive", TO_CLIENT),
            ("client/keys/server.send", TO_SERVER),
            ("client/keys/ospf.key", OSPF_SECRET),
            ("client/keys/bfd.key", BFD_SECRET),
        ] {
            secret(nodes.path(path), text);
        }
        nodes
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> NodeFile {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        NodeFile::load(&path, false).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// No secret is ever in what is found.
    fn compare(&self, server: &str, client: &str) -> Comparison {
        let files = [
            self.file("server/l2ha.toml", server),
            self.file("client/l2ha.toml", client),
        ];
        let comparison = compare(&files);
        let all = serde_json::to_string(&comparison).unwrap();
        for secret in [TO_CLIENT, TO_SERVER, OSPF_SECRET, BFD_SECRET, "5555"] {
            assert!(!all.contains(secret), "{all}");
        }
        comparison
    }
}

#[test]
fn files_that_fit() {
    let found = Nodes::new().compare(SERVER, CLIENT);
    assert_eq!(found.misfits, []);
    assert_eq!(found.notes, [""; 0]);
    assert_eq!(found.tunnels, 2);
}

/// A change at the client, and what is found: its id, the keys at server and client, and what is in the remedy.
#[rustfmt::skip]
const MUTATIONS: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("name = \"client\"", "name = \"server-1\"", "name", "node.name", "node.name", "another `name`"),
    ("addresses = [\"fd00:a::9\"]", "addresses = [\"fd00:a::1\"]", "address", "node.addresses[0]", "node.addresses[0]", "another `addresses`"),
    ("addresses = [\"10.77.0.9\", \"2001:db8:77::9\"]", "addresses = [\"10.77.0.8\", \"2001:db8:77::9\"]", "remote", "tunnels[0].remote", "underlay.addresses", "write `remote = \"10.77.0.8\"` in SERVER, or `addresses = [\"10.77.0.9\"]`"),
    ("router_id = \"10.0.0.9\"", "router_id = \"10.0.0.1\"", "router-id", "ospf.router_id", "ospf.router_id", "another `router_id`"),
    ("hello_interval = 1", "hello_interval = 2", "hello-interval", "ospf.hello_interval", "ospf.hello_interval", "write `hello_interval = 1` in CLIENT, or `hello_interval = 2` in SERVER"),
    ("dead_interval = 4", "dead_interval = 5", "dead-interval", "ospf.dead_interval", "ospf.dead_interval", "`dead_interval = 4` in CLIENT"),
    ("instance_id = 0", "instance_id = 1", "instance-id", "ospf.instance_id", "ospf.instance_id", "`instance_id = 0` in CLIENT"),
    ("ipv4 = true", "ipv4 = false", "ipv4", "ospf.ipv4", "ospf.ipv4", "`ipv4 = true` in CLIENT"),
    ("ipv4_instance_id = 64", "ipv4_instance_id = 65", "ipv4-instance-id", "ospf.ipv4_instance_id", "ospf.ipv4_instance_id", "`ipv4_instance_id = 64` in CLIENT"),
    ("bfd = \"100x5\"", "bfd = \"off\"", "bfd", "ospf.bfd", "ospf.bfd", "`bfd = \"50x3\"` in CLIENT"),
    ("remote = \"10.77.0.1\"", "remote = \"10.77.0.2\"", "remote", "underlay.addresses", "tunnels[1].remote", "`remote = \"10.77.0.1\"` in CLIENT"),
    ("local_port = 1702", "local_port = 1703", "port", "tunnels[0].remote_port", "tunnels[1].local_port", "write `local_port = 1702` in CLIENT, or `remote_port = 1703` in SERVER"),
    ("remote_port = 1701", "remote_port = 1703", "port", "tunnels[0].local_port", "tunnels[1].remote_port", "write `local_port = 1703` in SERVER, or `remote_port = 1701` in CLIENT"),
    ("session_id = 2001", "session_id = 2003", "session-id", "tunnels[0].peer_session_id", "tunnels[1].session_id", "`peer_session_id = 2003` in SERVER"),
    ("peer_session_id = 1001", "peer_session_id = 1003", "session-id", "tunnels[0].session_id", "tunnels[1].peer_session_id", "`peer_session_id = 1001` in CLIENT"),
    ("receive_cookie_file = \"keys/server.receive\"", "", "cookie", "tunnels[0].send_cookie_file", "tunnels[1].receive_cookie_file", "write `receive_cookie_file = \"FILE\"` in CLIENT"),
    ("receive_cookie_file = \"keys/server.receive\"", "receive_cookie_file = \"keys/other\"", "cookie", "tunnels[0].send_cookie_file", "tunnels[1].receive_cookie_file", "copy the file that `send_cookie_file` names in SERVER over"),
    ("send_cookie_file = \"keys/server.send\"", "", "cookie", "tunnels[0].receive_cookie_file", "tunnels[1].send_cookie_file", "write `send_cookie_file = \"FILE\"` in CLIENT"),
    ("send_cookie_file = \"keys/server.send\"", "send_cookie_file = \"keys/short\"", "cookie", "tunnels[0].receive_cookie_file", "tunnels[1].send_cookie_file", "copy the file"),
    ("sequence = \"both\"", "sequence = \"recv\"", "sequence", "tunnels[0].sequence", "tunnels[1].sequence", "write `sequence = \"both\"` in CLIENT"),
    ("sequence = \"both\"", "", "sequence", "tunnels[0].sequence", "tunnels[1].sequence", "write `sequence = \"send\"` in CLIENT"),
    ("source_port = \"flow\"", "source_port = \"fixed\"", "source-port", "tunnels[0].source_port", "tunnels[1].source_port", "`source_port = \"flow\"` in CLIENT"),
    ("udp_checksum = false", "udp_checksum = true", "udp-checksum", "tunnels[1].udp_checksum", "tunnels[0].udp_checksum", "`udp_checksum = false` in CLIENT"),
    ("ecn = \"copy\"", "ecn = \"none\"", "ecn", "tunnels[0].ecn", "tunnels[1].ecn", "`ecn = \"copy\"` in CLIENT"),
    ("mtu = 1400", "mtu = 1401", "mtu", "tunnels[0].mtu", "tunnels[1].mtu", "write `mtu = 1400` in CLIENT, or `mtu = 1401` in SERVER"),
    ("mtu = 1400", "", "mtu", "tunnels[0].mtu", "tunnels[1].mtu", "write `mtu = 1400` in CLIENT"),
    ("addresses = [\"fd00:1::9/64\"]", "addresses = [\"fd00:1::1/64\"]", "address", "tunnels[0].addresses[0]", "tunnels[1].addresses[0]", "another `addresses`"),
    ("area = \"0.0.0.1\"\nospf_network", "area = \"0.0.0.0\"\nospf_network", "area", "tunnels[0].area", "tunnels[1].area", "`area = \"0.0.0.1\"` in CLIENT"),
    ("ospf_network = \"point-to-point\"", "ospf_network = \"broadcast\"", "ospf-network", "tunnels[0].ospf_network", "tunnels[1].ospf_network", "`ospf_network = \"point-to-point\"` in CLIENT"),
    ("ospf_network = \"point-to-point\"", "bfd = \"off\"", "bfd", "ospf.bfd", "tunnels[1].bfd", "`bfd = \"50x3\"` in CLIENT"),
    ("stub = true", "stub = false", "stub", "ospf_areas[0].stub", "ospf_areas[0].stub", "`stub = true` in CLIENT"),
    ("id = 1\nalgorithm", "id = 2\nalgorithm", "ospf-key", "ospf_keys[0].id", "ospf_keys[0].id", "section `[[ospf_keys]]` with `id = 1`, `algorithm = \"hmac-sha-256\"`"),
    ("algorithm = \"hmac-sha-256\"", "algorithm = \"hmac-sha-512\"", "ospf-key", "ospf_keys[0].algorithm", "ospf_keys[0].algorithm", "`algorithm = \"hmac-sha-256\"` in CLIENT"),
    ("secret_file = \"keys/ospf.key\"", "secret_file = \"keys/bfd.key\"", "ospf-key", "ospf_keys[0].secret_file", "ospf_keys[0].secret_file", "copy the file that `secret_file` names"),
    ("protocol_id = \"network-order\"", "protocol_id = \"little-endian\"", "ospf-key", "ospf_keys[0].protocol_id", "ospf_keys[0].protocol_id", "`protocol_id = \"network-order\"` in CLIENT"),
    ("accept_from = \"2026-01-01T00:00:00Z\"", "accept_from = \"2026-01-01T00:00:01Z\"", "ospf-key-lifetime", "ospf_keys[0].send_from", "ospf_keys[0].accept_from", "an earlier `accept_from` in CLIENT"),
    ("id = 7", "id = 8", "bfd-key", "bfd_keys[0].id", "bfd_keys[0].id", "section `[[bfd_keys]]` with `id = 7`"),
    ("algorithm = \"meticulous-keyed-sha1\"", "algorithm = \"keyed-sha1\"", "bfd-key", "bfd_keys[0].algorithm", "bfd_keys[0].algorithm", "`algorithm = \"meticulous-keyed-sha1\"` in CLIENT"),
    ("secret_file = \"keys/bfd.key\"", "secret_file = \"keys/ospf.key\"", "bfd-key", "bfd_keys[0].secret_file", "bfd_keys[0].secret_file", "copy the file that `secret_file` names"),
    ("name = \"web\"", "name = \"www\"", "service-name", "services[0].name", "services[0].name", "`name = \"web\"` in CLIENT"),
    ("address = \"2001:db8::80\"", "address = \"2001:db8::81\"", "service-address", "services[0].address", "services[0].address", "`address = \"2001:db8::80\"` in CLIENT"),
    ("address = \"2001:db8::80\"", "address = \"fd00:a::1\"", "address", "node.addresses[0]", "services[0].address", "another"),
    ("when_failed = \"withdraw\"", "", "service-when-failed", "services[0].when_failed", "services[0].when_failed", "`when_failed = \"withdraw\"` in CLIENT"),
    ("check = { tcp = \"[2001:db8::80]:80\" }", "check = { tcp = \"[2001:db8::80]:443\" }", "service-check", "services[0].check", "services[0].check", "the same `check`"),
    ("check = { tcp = \"[2001:db8::80]:80\" }", "", "service-check", "services[0].check", "services[0].check", "the same `check`"),
];

#[test]
fn each_change_of_a_line_is_found_and_named_at_both_places() {
    let nodes = Nodes::new();
    secret(nodes.path("client/keys/other"), "5555000055550000");
    secret(nodes.path("client/keys/short"), "55550000");
    for (old, new, id, at_server, at_client, remedy) in MUTATIONS {
        // The whole line, so that `session_id` is not found in `peer_session_id`.
        let (old_line, new_line) = (format!("\n{old}"), format!("\n{new}"));
        assert_eq!(CLIENT.matches(&old_line).count().min(1), 1, "{old}");
        let client = CLIENT.replace(&old_line, &new_line);
        let found = nodes.compare(SERVER, &client);
        let wanted = |misfit: &&Misfit| misfit.id == *id;
        let misfit = found.misfits.iter().find(wanted);
        let misfit = misfit.unwrap_or_else(|| panic!("{new} is not found: {found:?}"));
        let of = |name: &str| {
            let file = nodes.path(name);
            misfit
                .places
                .iter()
                .find(move |spot| spot.file == file)
                .unwrap()
        };
        let (server, changed) = (of("server/l2ha.toml"), of("client/l2ha.toml"));
        assert_eq!(server.key, *at_server, "{new}: {misfit}");
        assert_eq!(changed.key, *at_client, "{new}: {misfit}");
        let begin = 1 + CLIENT.find(&old_line).unwrap();
        let key = new.split(' ').next().unwrap();
        if !key.is_empty() && changed.key.contains(key) {
            let line = 1 + CLIENT[..begin].lines().count();
            assert_eq!(changed.line, line, "{misfit}");
        }
        let remedy = remedy
            .replace(
                "SERVER",
                &nodes.path("server/l2ha.toml").display().to_string(),
            )
            .replace(
                "CLIENT",
                &nodes.path("client/l2ha.toml").display().to_string(),
            );
        assert!(misfit.remedy.contains(&remedy), "{new}: {misfit}");
        // One line more at most follows from it, of the same kind.
        assert!(found.misfits.len() <= 2, "{new}: {found:?}");
        assert_eq!(found.notes, [""; 0], "{new}");
    }
}

#[test]
fn tunnels_without_a_counterpart_are_named_with_the_lines_that_they_lack() {
    let nodes = Nodes::new();
    let (before, after) = CLIENT.split_once("[[tunnels]]\nname = \"server\"").unwrap();
    let after = &after[after.find("[[ospf_areas]]").unwrap()..];
    let found = nodes.compare(SERVER, &format!("{before}{after}"));
    let [misfit] = &found.misfits[..] else {
        panic!("{found:?}");
    };
    assert_eq!(misfit.id, "no-counterpart");
    for line in [
        "`name = \"server-1\"`",
        "`remote = \"10.77.0.1\"`",
        "`session_id = 2001`",
        "`peer_session_id = 1001`",
        "`local_port = 1702`",
        "`receive_cookie_file = \"FILE\"` and `send_cookie_file = \"FILE\"`",
    ] {
        assert!(misfit.remedy.contains(line), "{misfit}");
    }
    assert_eq!(found.tunnels, 1);
}

#[test]
fn nodes_that_are_not_there_are_noted() {
    let nodes = Nodes::new();
    let third = SERVER.replace("10.77.0.9", "10.77.0.7");
    let found = nodes.compare(&third, CLIENT);
    let alone = found.misfits.iter().filter(|misfit| misfit.id == "remote");
    assert_eq!(
        alone.count(),
        1,
        "its sessions say whom it means: {found:?}"
    );
    let third = third.replace("session_id = 1001", "session_id = 1009");
    let found = nodes.compare(&third, CLIENT);
    assert_eq!(found.notes.len(), 1, "{found:?}");
    assert!(
        found.notes[0].contains("tunnel client leads to 10.77.0.7, which none of these nodes has"),
        "{found:?}"
    );
    let ids: Vec<&str> = found.misfits.iter().map(|misfit| misfit.id).collect();
    assert_eq!(ids, ["no-counterpart"], "the client's leads to the server");
}

/// Between the same two addresses, session ids and ports tell which is which.
#[test]
fn several_tunnels_between_two_nodes_are_told_apart() {
    let tunnel = |name: &str, remote: &str, ids: (u32, u32)| {
        format!(
            "[[tunnels]]\nname = \"{name}\"\nremote = \"{remote}\"\nsession_id = {}\npeer_session_id = {}\n",
            ids.0, ids.1
        )
    };
    let node = |name: &str, address: &str, tunnels: &str| {
        format!(
            "[node]\nname = \"{name}\"\n[underlay]\ninterface = \"eth0\"\naddresses = [\"{address}\"]\n{tunnels}"
        )
    };
    let to_b = |ids: [(u32, u32); 2]| {
        let tunnels = [
            tunnel("b1", "10.0.0.2", ids[0]),
            tunnel("b2", "10.0.0.2", ids[1]),
        ];
        node("a", "10.0.0.1", &tunnels.concat())
    };
    let to_a = [
        tunnel("a2", "10.0.0.1", (4, 3)),
        tunnel("a1", "10.0.0.1", (2, 1)),
    ];
    let b = node("b", "10.0.0.2", &to_a.concat());
    let nodes = Nodes::new();
    let found = nodes.compare(&to_b([(1, 2), (3, 4)]), &b);
    assert_eq!((found.misfits.len(), found.tunnels), (0, 2), "{found:?}");
    let found = nodes.compare(&to_b([(1, 2), (3, 5)]), &b);
    let [misfit] = &found.misfits[..] else {
        panic!("{found:?}");
    };
    assert_eq!(misfit.places[0].key, "tunnels[1].peer_session_id");
    assert_eq!(misfit.places[1].key, "tunnels[0].session_id");
}

/// While cookies are rotated, the receiver knows both; while keys are, the one that signs last is known.
#[test]
fn a_rotation_under_way_fits() {
    let nodes = Nodes::new();
    secret(nodes.path("client/keys/new"), "5555000055550000");
    for node in ["server/new.key", "client/new.key"] {
        secret(nodes.path(node), "5555-new-secret");
    }
    let client = CLIENT.replace(
        "receive_cookie_file = \"keys/server.receive\"",
        "receive_cookie_file = \"keys/new\"\nreceive_cookie_previous_file = \"keys/server.receive\"",
    );
    let new_key = "\n[[ospf_keys]]\nid = 2\nsecret_file = \"new.key\"\nsend_from = \"2027-01-01T00:00:00Z\"\n";
    let (with_new, client) = (format!("{SERVER}{new_key}"), format!("{client}{new_key}"));
    assert_eq!(nodes.compare(&with_new, &client).misfits, []);
    // The old one may go first at one of them, once the new one signs.
    let found = nodes.compare(SERVER, &client);
    let ids: Vec<&str> = found.misfits.iter().map(|misfit| misfit.id).collect();
    assert!(
        ids.iter().all(|id| *id == "ospf-key") && !ids.is_empty(),
        "{found:?}"
    );
}

#[test]
fn secrets_that_were_not_copied_are_noted_and_the_rest_is_compared() {
    let nodes = Nodes::new();
    fs::remove_dir_all(nodes.path("client/keys")).unwrap();
    let found = nodes.compare(SERVER, &CLIENT.replace("mtu = 1400", "mtu = 1401"));
    let ids: Vec<&str> = found.misfits.iter().map(|misfit| misfit.id).collect();
    assert_eq!(ids, ["mtu"]);
    let [note] = &found.notes[..] else {
        panic!("{found:?}");
    };
    assert!(note.contains("4 of the files of secrets"), "{note}");
    // Whether there is a cookie is known all the same.
    let without = SERVER.replace("send_cookie_file", "# send_cookie_file");
    let found = nodes.compare(&without, CLIENT);
    let ids: Vec<&str> = found.misfits.iter().map(|misfit| misfit.id).collect();
    assert_eq!(ids, ["cookie"]);
    // What is here and open to others is a mistake as ever.
    secret(nodes.path("client/keys/server.send"), TO_SERVER);
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(nodes.path("client/keys/server.send"), open).unwrap();
    let errors = NodeFile::load(&nodes.path("client/l2ha.toml"), false).unwrap_err();
    assert!(errors.to_string().contains("mode 0644"), "{errors}");
}

#[test]
fn ospf_at_one_end_only() {
    let nodes = Nodes::new();
    let client = CLIENT.replace(
        "area = \"0.0.0.1\"\nospf_network = \"point-to-point\"\n",
        "ospf = false\n",
    );
    let found = nodes.compare(SERVER, &client);
    let ids: Vec<&str> = found.misfits.iter().map(|misfit| misfit.id).collect();
    assert_eq!(ids, ["ospf"], "{found:?}");
    assert!(found.misfits[0].remedy.contains("write `ospf = true` in"));
}

/// A cluster's nodes with these secrets, the present one first, as files without `[cluster]` in a folder of their own.
fn cluster(folder: &Path, secrets: &[&str]) -> Vec<NodeFile> {
    let mut text =
        "[cluster]\nname = \"shop\"\nmtu = 1500\nsecret_file = \"cluster.key\"\n".to_owned();
    secret(folder.join("cluster.key"), &secrets[0].repeat(32));
    if let Some(former) = secrets.get(1) {
        text.push_str("secret_previous_file = \"old.key\"\n");
        secret(folder.join("old.key"), &former.repeat(32));
    }
    text.push_str(
        "\n[cluster.servers]\nserver-1 = \"10.0.0.1\"\nserver-2 = { address = \"10.0.0.2\", port = 1702 }\n\n\
         [cluster.clients]\nclient-1 = { address = \"10.0.0.9\", mtu = 1400, bfd = \"100x3\" }\n\n\
         [[services]]\nname = \"web\"\naddress = \"2001:db8::80\"\ncheck = { tcp = \"[2001:db8::80]:80\" }\n",
    );
    let file = folder.join("l2ha.toml");
    fs::write(&file, text).unwrap();
    let all = Expanded::load(&file, Which::All(&Who::default()));
    let all = all.unwrap_or_else(|errors| panic!("{errors}"));
    let files = all.iter().map(|expanded| {
        let own = folder.join(&expanded.node);
        for (name, text) in &expanded.files {
            secret(own.join(name), text);
        }
        let path = own.join("l2ha.toml");
        fs::write(&path, &expanded.text).unwrap();
        NodeFile::load(&path, false).unwrap_or_else(|errors| panic!("{errors}"))
    });
    files.collect()
}

/// What a cluster's file means for its nodes fits at both ends of every tunnel.
#[test]
fn the_nodes_of_a_cluster_fit() {
    let folder = tempfile::tempdir().unwrap();
    let found = compare(&cluster(folder.path(), &["5a"]));
    assert_eq!(found.misfits, []);
    assert_eq!((found.tunnels, found.notes.len()), (3, 0));
    // Its own file is the same everywhere.
    let errors = NodeFile::load(&folder.path().join("l2ha.toml"), true).unwrap_err();
    assert!(
        errors.to_string().contains("the same on every node"),
        "{errors}"
    );
}

/// Two rolling reloads: whoever has both secrets fits whoever has one of them.
#[test]
fn nodes_of_a_cluster_whose_secret_is_rotated_fit() {
    let folder = tempfile::tempdir().unwrap();
    let with = |name: &str, secrets: &[&str]| cluster(&folder.path().join(name), secrets);
    // The server of the first and the client of the second.
    let of_two = |mut first: Vec<NodeFile>, mut second: Vec<NodeFile>| {
        let files = [first.remove(0), second.remove(2)];
        compare(&files).misfits
    };
    let mixed = |first: &[&str], second: &[&str]| of_two(with("a", first), with("b", second));
    let none_fits = |misfits: Vec<Misfit>| {
        let ids: std::collections::BTreeSet<&str> = misfits.iter().map(|it| it.id).collect();
        assert!(
            ids.is_superset(&["cookie", "ospf-key", "bfd-key"].into()),
            "{misfits:?}"
        );
    };
    let [alone_old, both, alone_new] = [&["5a"][..], &["a5", "5a"], &["a5"]];
    for (one, other) in [
        (alone_old, both),
        (both, alone_old),
        (both, both),
        (both, alone_new),
        (alone_new, both),
    ] {
        assert_eq!(mixed(one, other), [], "{one:?} {other:?}");
    }
    none_fits(mixed(alone_old, alone_new));
    none_fits(mixed(alone_new, alone_old));
}
