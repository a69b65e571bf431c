//! Whole files, good and bad.

mod against;
mod changes;
mod cluster_sample;
mod cookies;
mod documentation;
mod mistakes;
mod mutations;
mod remedies;
mod tunnel_keys;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use ospfv3::AreaConfig;

use super::*;

/// A file with everything that must be there, and one tunnel.
const GOOD: &str = r#"[node]
name = "server-1"

[underlay]
interface = "eth0"
addresses = ["10.77.0.1"]

[[tunnels]]
name = "client"
remote = "10.77.0.9"
session_id = 1001
peer_session_id = 2001

[ospf]
router_id = "10.0.0.1"

[[services]]
name = "web"
address = "2001:db8::80"
"#;

/// A second tunnel; its first line is line 20.
const SECOND: &str = r#"
[[tunnels]]
name = "server-2"
remote = "10.77.0.2"
session_id = 1002
peer_session_id = 3001
"#;

fn load_in(folder: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let file = folder.join("l2ha.toml");
    fs::write(&file, text).unwrap();
    // Of use where there is a cluster.
    let who = Who {
        node: Some("server-1".to_owned()),
        addresses: vec![("eth0".to_owned(), IpAddr::from([10, 77, 0, 1]))],
    };
    Config::load(&file, &who)
}

fn load(text: &str) -> Result<Config, ConfigErrors> {
    load_in(tempfile::tempdir().unwrap().path(), text)
}

/// A folder with cookie files: good ones, and one for each mistake.
fn cookies() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, mode) in [
        ("a", "00112233\n", 0o600),
        ("b", "0011223344556677", 0o400),
        ("same-as-b", "0011223344556677\n", 0o600),
        ("open", "00112233", 0o644),
        ("short", "deadbee", 0o600),
        ("words", "not a cookie at all", 0o600),
        ("empty", "", 0o600),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(folder.path().join("folder")).unwrap();
    folder
}

#[test]
fn defaults() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.node.socket(), Path::new("/run/l2ha/server-1.sock"));
    assert_eq!(config.node.bpffs, Path::new("/sys/fs/bpf"));
    assert_eq!(config.underlay.mode, AttachMode::Auto);
    let tunnel = &config.tunnels[0];
    assert_eq!(
        (tunnel.interface.as_str(), tunnel.hidden.as_str()),
        ("l2-client", "l2h-client")
    );
    assert_eq!(tunnel.local, "10.77.0.1".parse::<IpAddr>().unwrap());
    let ports = (1701, 1701);
    assert_eq!(
        tunnel.encapsulation,
        Encapsulation::Udp {
            local_port: ports.0,
            remote_port: ports.1
        }
    );
    assert_eq!(tunnel.sublayer, Sublayer::None);
    assert_eq!(
        (tunnel.send_cookie.bytes(), tunnel.receive_cookie.bytes()),
        (&[][..], &[][..])
    );
    assert_eq!(
        tunnel.ospf,
        Some(TunnelOspf {
            area: Ipv4Addr::UNSPECIFIED,
            network: OspfNetwork::PointToPoint,
            priority: 1,
            cost: 10,
            bfd: None,
        })
    );
    assert_eq!(
        config.ospf,
        Some(Ospf {
            router_id: Ipv4Addr::new(10, 0, 0, 1),
            area: Ipv4Addr::UNSPECIFIED,
            hello_interval: 1,
            dead_interval: 4,
            bfd: None,
            cost: 10,
            instance_id: 0,
            ipv4: None,
            retransmit_interval: 5,
            table: 254,
            route_metric: 20,
            redistribute: Redistribute {
                connected: false,
                statics: false,
                metric: 20,
                type2: true,
                only: Vec::new(),
            },
            accept_default: false,
            accept: Vec::new(),
            graceful_restart: 120,
            graceful_helper: true,
            graceful_strict: true,
        })
    );
    assert_eq!(config.services[0].metric, 0);
    assert_eq!(load(GOOD).unwrap(), config);
}

#[test]
fn checks() {
    let text = format!(
        r#"{GOOD}when_failed = "withdraw"
on_change = ["/bin/tell", "me"]
[[services.check]]
http = "https://shop.example:8443/health?x=1"
status = "200"
body = "fine"
verify = "nothing"
interval = "50ms"
timeout = "0.2s"
fall = 1
rise = 1
[[services.check]]
http = "http://[::1]"
[[services.check]]
exec = ["/bin/check", "$HOME; not a shell"]
"#
    );
    let config = load(&text).unwrap();
    let service = &config.services[0];
    assert_eq!(service.when_failed, WhenFailed::Withdraw);
    assert_eq!(service.on_change, ["/bin/tell", "me"]);
    let ms = Duration::from_millis;
    let usual = |kind| Check {
        kind,
        interval: ms(1000),
        timeout: ms(1000),
        fall: 2,
        rise: 3,
    };
    // A name is not looked up: the service is asked at its own address.
    let shop = HttpCheck {
        url: "https://shop.example:8443/health?x=1".to_owned(),
        tls: true,
        verify: false,
        target: "[2001:db8::80]:8443".parse().unwrap(),
        host: "shop.example".to_owned(),
        authority: "shop.example:8443".to_owned(),
        path: "/health?x=1".to_owned(),
        status: (200, 200),
        body: Some("fine".to_owned()),
    };
    let local = HttpCheck {
        url: "http://[::1]".to_owned(),
        tls: false,
        verify: true,
        target: "[::1]:80".parse().unwrap(),
        host: "::1".to_owned(),
        authority: "[::1]".to_owned(),
        path: "/".to_owned(),
        status: (200, 399),
        body: None,
    };
    let words = ["/bin/check", "$HOME; not a shell"].map(str::to_owned);
    assert_eq!(
        service.checks,
        [
            Check {
                interval: ms(50),
                timeout: ms(200),
                fall: 1,
                rise: 1,
                ..usual(CheckKind::Http(shop))
            },
            usual(CheckKind::Http(local)),
            usual(CheckKind::Exec(words.to_vec())),
        ]
    );
    let one = load(&format!("{GOOD}check = {{ tcp = \"192.0.2.1:53\" }}\n")).unwrap();
    assert_eq!(
        one.services[0].checks,
        [usual(CheckKind::Tcp("192.0.2.1:53".parse().unwrap()))]
    );
    assert_eq!(one.services[0].when_failed, WhenFailed::LastResort);
    let nine = "[[services.check]]\ntcp = \"[::1]:80\"\n".repeat(9);
    let errors = load(&format!("{GOOD}{nine}")).unwrap_err();
    let [error] = errors.errors() else {
        panic!("{errors}")
    };
    assert!(error.what.contains("at most 8 checks"), "{error:?}");
    assert_eq!(error.key, "services[0].check[8]");
}

#[test]
fn areas_networks_and_redistribution() {
    let text = GOOD
        .replace(
            "remote =",
            "area = \"0.0.0.1\"\nospf_network = \"broadcast\"\nospf_priority = 0\nremote =",
        )
        .replace(
            "[ospf]",
            "[[ospf_areas]]\narea = \"0.0.0.1\"\nstub = true\ndefault_cost = 7\n\n[ospf]\n\
             redistribute = [\"static\"]\nredistribute_metric = 5\nredistribute_type = 1",
        );
    let config = load(&text).unwrap();
    let area = Ipv4Addr::new(0, 0, 0, 1);
    let ospf = config.tunnels[0].ospf.unwrap();
    assert_eq!(
        (ospf.area, ospf.network, ospf.priority),
        (area, OspfNetwork::Broadcast, 0)
    );
    let stub = AreaConfig {
        stub: true,
        default_cost: 7,
        no_summary: false,
    };
    assert_eq!(config.ospf_areas, [OspfArea { area, config: stub }]);
    let redistribute = config.ospf.as_ref().unwrap().redistribute.clone();
    let wanted = Redistribute {
        connected: false,
        statics: true,
        metric: 5,
        type2: false,
        only: Vec::new(),
    };
    assert_eq!(redistribute, wanted);
    // No tunnel is in the backbone: the services are where the tunnels are.
    assert_eq!(config.home_area(), Some(area));
    assert_eq!(load(GOOD).unwrap().home_area(), Some(Ipv4Addr::UNSPECIFIED));
}

#[test]
fn ipv4_services() {
    let with = |ospf: &str| {
        let text = GOOD.replace("[ospf]", &format!("[ospf]\n{ospf}"));
        let text = text.replace("2001:db8::80", "192.0.2.80");
        load(&text).unwrap()
    };
    let config = with("");
    let address: IpAddr = "192.0.2.80".parse().unwrap();
    assert_eq!(config.services[0].address, address);
    assert_eq!(config.ospf.unwrap().ipv4, Some(64), "a service needs it");
    let config = with("ipv4_instance_id = 65");
    assert_eq!(config.ospf.unwrap().ipv4, Some(65));
    let text = GOOD.replace("[ospf]", "[ospf]\nipv4 = true");
    assert_eq!(load(&text).unwrap().ospf.unwrap().ipv4, Some(64));
    let text = GOOD.replace("[ospf]", "[ospf]\nipv4 = false\ninstance_id = 200");
    let ospf = load(&text).unwrap().ospf.unwrap();
    assert_eq!((ospf.ipv4, ospf.instance_id), (None, 200));
    let text = GOOD.replace("[node]", "[node]\naddresses = [\"192.0.2.1\"]");
    let ospf = load(&text).unwrap().ospf.unwrap();
    assert_eq!(ospf.ipv4, Some(64), "the node's own address needs it");
    let text = text.replace("[ospf]", "[ospf]\nipv4 = false");
    let errors = load(&text).unwrap_err().to_string();
    assert!(
        errors.contains("node.addresses[0]: `192.0.2.1` is IPv4, but `ipv4 = false` in [ospf]"),
        "{errors}"
    );
}

/// Facts measured on a live Linux kernel peer over an underlay of 1500 bytes.
#[test]
fn mtu_by_encapsulation() {
    let folder = cookies();
    let mtu = |extra: &str, remote: &str| {
        let text = GOOD
            .replace("[\"10.77.0.1\"]", "[\"10.77.0.1\", \"2001:db8::1\"]")
            .replace("\"10.77.0.9\"", &format!("\"{remote}\"\n{extra}"));
        load_in(folder.path(), &text).unwrap().tunnels[0].mtu_for(1500)
    };
    let (v4, v6) = ("10.77.0.9", "2001:db8::9");
    let (sublayer, ip) = ("sublayer = \"default\"\n", "encapsulation = \"ip\"\n");
    let (short, long) = (
        "receive_cookie_file = \"a\"\n",
        "send_cookie_file = \"b\"\n",
    );
    assert_eq!(mtu(sublayer, v4), 1446);
    assert_eq!(mtu(long, v4), 1442);
    assert_eq!(mtu(&[short, long].concat(), v4), 1442);
    assert_eq!(mtu(short, v4), 1446);
    assert_eq!(mtu(&[sublayer, ip].concat(), v4), 1458);
    assert_eq!(mtu(&[long, ip].concat(), v4), 1454);
    assert_eq!(mtu(sublayer, v6), 1426);
    assert_eq!(mtu(&[sublayer, ip].concat(), v6), 1438);
    assert_eq!(mtu("mtu = 1300\n", v4), 1300);
}

#[test]
fn every_form_is_understood() {
    let folder = cookies();
    let text = GOOD.replace(
        "session_id = 1001\npeer_session_id = 2001",
        r#"
            interface = "fifteen-bytes-x"
            local_port = 0x6a5
            remote_port = 1_702
            session_id = 4294967295
            peer_session_id = 1
            receive_cookie_file = "a"
            send_cookie_file = "b"
            sublayer = "default"
            mtu = 1400
            addresses = ["fd00:1::1/64", "192.0.2.1/30", "192.0.2.8/31"]
            cost = 65535"#,
    );
    let config = load_in(folder.path(), &text).unwrap();
    let tunnel = &config.tunnels[0];
    assert_eq!(tunnel.hidden.len(), 15);
    assert_eq!(
        tunnel.encapsulation,
        Encapsulation::Udp {
            local_port: 1701,
            remote_port: 1702
        }
    );
    assert_eq!(tunnel.receive_cookie.bytes(), [0, 0x11, 0x22, 0x33]);
    assert_eq!(tunnel.send_cookie.bytes().len(), 8);
    assert_eq!(tunnel.mtu, Some(1400));
    assert_eq!(tunnel.addresses.len(), 3);
    assert_eq!(
        tunnel.ospf,
        Some(TunnelOspf {
            area: Ipv4Addr::UNSPECIFIED,
            network: OspfNetwork::PointToPoint,
            priority: 1,
            cost: 65535,
            bfd: None,
        })
    );
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("17, 34, 51") && !shown.contains("00112233"),
        "{shown}"
    );

    let without = load(
        &GOOD
            .replace("remote =", "ospf = false\nremote =")
            .replace("[ospf]", SECOND)
            .replace("router_id", "[ospf]\nrouter_id"),
    );
    let config = without.unwrap();
    assert_eq!(
        (config.tunnels[0].ospf, config.tunnels[1].ospf),
        (
            None,
            Some(TunnelOspf {
                area: Ipv4Addr::UNSPECIFIED,
                network: OspfNetwork::PointToPoint,
                priority: 1,
                cost: 10,
                bfd: None,
            })
        )
    );
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_lines() {
    let text = r#"
[node]
name = "Server"
[underlay]
interface = "a-name-that-is-too-long"
adresses = ["10.77.0.1"]
[[tunnels]]
name = "client"
remote = "10.77.0.9"
session_id = 0
mtu = "big"
[[services]]
name = "web"
address = "127.0.0.1"
metric = -1
"#;
    let errors = load(text).unwrap_err();
    let found: Vec<_> = errors
        .errors()
        .iter()
        .map(|error| (error.line.unwrap_or_default(), error.key.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (3, "node.name"),
            (5, "underlay.interface"),
            (6, "underlay.adresses"),
            (7, "tunnels[0].peer_session_id"),
            (10, "tunnels[0].session_id"),
            (11, "tunnels[0].mtu"),
            (12, "services[0]"),
            (14, "services[0].address"),
            (15, "services[0].metric"),
        ],
        "{errors}"
    );
    assert_eq!(errors.to_string().lines().count(), found.len());
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let gone = Config::load(&folder.path().join("gone.toml"), &Who::default()).unwrap_err();
    assert!(
        gone.to_string().contains("cannot be read") && gone.to_string().contains("--config FILE"),
        "{gone}"
    );
    let is_folder = Config::load(folder.path(), &Who::default()).unwrap_err();
    assert!(is_folder.to_string().contains("name a file"), "{is_folder}");
    let file = folder.path().join("latin1.toml");
    fs::write(&file, b"[node]\nname = \"b\xfcro\"\n").unwrap();
    let latin1 = Config::load(&file, &Who::default()).unwrap_err();
    assert_eq!(latin1.errors()[0].line, Some(2));
    let empty = load("").unwrap_err();
    let keys: Vec<_> = empty
        .errors()
        .iter()
        .map(|error| error.key.as_str())
        .collect();
    assert_eq!(keys, ["node", "underlay"]);
}

/// TOML has several ways to say the same.
#[test]
fn inline_tables_and_dotted_keys_say_the_same() {
    let text = r#"
node.name = "server-1"
underlay = { interface = "eth0", addresses = ["10.77.0.1"] }
ospf.router_id = "10.0.0.1"
services = [{ name = "web", address = "2001:db8::80" }]
tunnels = [
    { name = "client", remote = "10.77.0.9", session_id = 1001, peer_session_id = 2001 },
]
"#;
    assert_eq!(load(text).unwrap(), load(GOOD).unwrap());
    let errors = load(&text.replace("remote = \"10.77.0.9\", ", ""));
    let key = "tunnels[0].remote";
    mistakes::expect(&errors, 7, key, "is missing", "add `remote", "inline");
}

#[test]
fn ospf_without_tunnels_is_refused_and_a_node_without_both_is_not() {
    let bare = &GOOD[..GOOD.find("[[tunnels]]").unwrap()];
    assert!(load(bare).is_ok());
    let errors = load(&format!("{bare}[ospf]\nrouter_id = \"10.0.0.1\"\n"));
    mistakes::expect(
        &errors,
        8,
        "ospf",
        "no tunnel to run over",
        "add a section `[[tunnels]]`",
        bare,
    );
}
