//! What is different between two files, in words.

use super::*;

/// What a change of the text changes, each with whether it interrupts something.
fn changed(text: &str, from: &str, to: &str) -> Vec<(String, bool)> {
    assert!(text.contains(from), "{from}");
    let folder = cookies();
    let of = |text: &str| load_in(folder.path(), text).unwrap_or_else(|errors| panic!("{errors}"));
    let changes = of(text).changes(&of(&text.replace(from, to)));
    let changes = changes.into_iter();
    changes
        .map(|change| (change.what, change.interrupts.is_some()))
        .collect()
}

fn one(text: &str, from: &str, to: &str) -> (String, bool) {
    let mut changes = changed(text, from, to);
    assert_eq!(changes.len(), 1, "{changes:?}");
    changes.remove(0)
}

#[test]
fn the_same_file_changes_nothing() {
    assert_eq!(changed(GOOD, "[ospf]", "# nothing\n[ospf]"), []);
}

#[test]
fn what_changes_live_interrupts_nothing() {
    for (key, what) in [
        ("cost = 20", "tunnel client: cost 10 -> 20"),
        ("ospf_priority = 7", "tunnel client: ospf_priority 1 -> 7"),
        ("bfd = \"50x3\"", "tunnel client: bfd off -> 50x3"),
        ("ttl = 9", "tunnel client: outer headers changed"),
        (
            "addresses = [\"fd00::1/64\"]",
            "tunnel client: addresses changed",
        ),
    ] {
        let to = format!("peer_session_id = 2001\n{key}");
        let found = one(GOOD, "peer_session_id = 2001", &to);
        assert_eq!(found, (what.to_owned(), false));
    }
    for (key, what) in [
        ("route_metric = 30", "ospf: route_metric 20 -> 30"),
        ("table = 100", "ospf: table 254 -> 100"),
        (
            "retransmit_interval = 2",
            "ospf: retransmit_interval 5 -> 2",
        ),
        ("redistribute = [\"static\"]", "ospf: redistribute changed"),
        (
            "accept_default = true",
            "ospf: accept_default false -> true",
        ),
        ("accept = [\"2001:db8::/32\"]", "ospf: accept changed"),
        ("graceful_restart = 9", "ospf: graceful_restart 120 -> 9"),
        (
            "graceful_helper = false",
            "ospf: graceful_helper true -> false",
        ),
        ("ipv4 = true", "ospf: ipv4 off -> instance 64"),
    ] {
        let to = format!("router_id = \"10.0.0.1\"\n{key}");
        let found = one(GOOD, "router_id = \"10.0.0.1\"", &to);
        assert_eq!(found, (what.to_owned(), false));
    }
    for (key, what) in [
        ("metric = 5", "service web: metric 0 -> 5"),
        (
            "check = { tcp = \"[2001:db8::80]:80\" }",
            "service web: check changed",
        ),
        (
            "when_failed = \"withdraw\"",
            "service web: when_failed last-resort -> withdraw",
        ),
    ] {
        let found = one(GOOD, "name = \"web\"", &format!("name = \"web\"\n{key}"));
        assert_eq!(found, (what.to_owned(), false));
    }
    let added = changed(
        &format!("{GOOD}{SECOND}"),
        "name = \"web\"",
        "name = \"web-2\"",
    );
    assert_eq!(
        added,
        [
            ("service web: removed".to_owned(), true),
            ("service web-2: added".to_owned(), false)
        ]
    );
}

#[test]
fn what_cannot_change_live_says_so() {
    let page = include_str!("../../../../docs/configuration.md");
    let (_, told) = page.split_once("## What a reload changes\n").unwrap();
    let told = told.split("\n## ").next().unwrap();
    for (from, to, what) in [
        (
            "session_id = 1001",
            "session_id = 1003",
            "tunnel client: session_id 1001 -> 1003",
        ),
        (
            "10.77.0.9",
            "10.77.0.8",
            "tunnel client: remote 10.77.0.9 -> 10.77.0.8",
        ),
        (
            "peer_session_id = 2001",
            "peer_session_id = 2001\nmtu = 1400",
            "tunnel client: mtu what fits -> 1400",
        ),
        (
            "peer_session_id = 2001",
            "peer_session_id = 2001\nospf_network = \"broadcast\"",
            "tunnel client: ospf_network point-to-point -> broadcast",
        ),
        (
            "peer_session_id = 2001",
            "peer_session_id = 2001\nospf_priority = 0",
            "tunnel client: ospf_priority 1 -> 0",
        ),
        (
            "router_id = \"10.0.0.1\"",
            "router_id = \"10.0.0.9\"",
            "ospf: router_id 10.0.0.1 -> 10.0.0.9",
        ),
        (
            "router_id = \"10.0.0.1\"",
            "router_id = \"10.0.0.1\"\ninstance_id = 7",
            "ospf: instance_id 0 -> 7",
        ),
        (
            "router_id = \"10.0.0.1\"",
            "router_id = \"10.0.0.1\"\ndead_interval = 9",
            "ospf: dead_interval 4 -> 9",
        ),
        (
            "2001:db8::80",
            "2001:db8::81",
            "service web: address 2001:db8::80 -> 2001:db8::81",
        ),
        ("\"eth0\"", "\"eth1\"", "underlay: interface eth0 -> eth1"),
        (
            "addresses = [\"10.77.0.1\"]",
            "addresses = [\"10.77.0.1\"]\nmode = \"tc\"",
            "underlay: mode auto -> tc",
        ),
    ] {
        assert_eq!(one(GOOD, from, to), (what.to_owned(), true));
        let key = what.split([':', ' ']).filter(|word| !word.is_empty());
        let mut key = key.skip_while(|word| !["client", "ospf", "web", "underlay"].contains(word));
        let key = key.nth(1).unwrap();
        let named =
            told.contains(&format!("`{key}")) || told.contains(&format!("an {key} that goes"));
        assert!(named, "docs/configuration.md does not name {key}");
    }
    let id = "session_id = 1002";
    let two = format!("{GOOD}{SECOND}");
    let off = one(&two, id, &format!("{id}\nospf = false"));
    assert_eq!(off, ("tunnel server-2: ospf off".to_owned(), true));
    let stub = "[[ospf_areas]]\narea = \"0.0.0.1\"\nstub = true\n";
    let area = format!("{GOOD}\n{stub}");
    let kind = one(&area, stub, "");
    assert_eq!(kind, ("area 0.0.0.1: stub true -> false".to_owned(), true));
    let options = changed(
        &area,
        "stub = true",
        "stub = true\nno_summary = true\ndefault_cost = 3",
    );
    assert_eq!(
        options,
        [
            ("area 0.0.0.1: default_cost 10 -> 3".to_owned(), false),
            ("area 0.0.0.1: no_summary false -> true".to_owned(), false)
        ]
    );
}

#[test]
fn a_rollover_of_secrets_interrupts_nothing_and_shows_none() {
    let keys = |ids: &[(u8, &str)]| {
        let of = |(id, file): &(u8, &str)| {
            format!(
                "[[bfd_keys]]\nid = {id}\nsecret_file = \"{file}\"\n[[ospf_keys]]\nid = {}\nsecret_file = \"{file}\"\n",
                id + 1
            )
        };
        let bfd = GOOD.replace("[ospf]\n", "[ospf]\nbfd = \"50x3\"\n");
        let (mut ospf_keys, mut bfd_keys) = (String::new(), String::new());
        for section in ids.iter().map(of) {
            let (bfd, ospf) = section.split_once("[[ospf_keys]]").unwrap();
            bfd_keys.push_str(bfd);
            ospf_keys.push_str(&format!("[[ospf_keys]]{ospf}"));
        }
        format!("{bfd}{bfd_keys}{ospf_keys}")
    };
    let steps: [&[(u8, &str)]; 5] = [
        &[(1, "a")],
        &[(1, "a"), (2, "b")],
        &[(2, "b"), (1, "a")],
        &[(2, "b")],
        &[(3, "a")],
    ];
    let mut interrupts = Vec::new();
    for two in steps.windows(2) {
        let [from, to] = two else { unreachable!() };
        let (from, to) = (keys(from), keys(to));
        let changes = changed(&from, &from, &to);
        assert!(!changes.is_empty());
        interrupts.push(changes.iter().any(|(_, interrupts)| *interrupts));
    }
    assert_eq!(interrupts, [false, false, false, true]);
    // A cookie that is still accepted beside the new one.
    let with = |lines: &str| {
        let id = "peer_session_id = 2001";
        GOOD.replace(id, &format!("{id}\n{lines}"))
    };
    let old = with("receive_cookie_file = \"a\"");
    let both = with("receive_cookie_file = \"b\"\nreceive_cookie_previous_file = \"a\"");
    let changes = changed(&old, &old, &both);
    assert!(
        changes.iter().all(|(_, interrupts)| !interrupts),
        "{changes:?}"
    );
    let alone = with("receive_cookie_file = \"b\"");
    assert!(one(&old, &old, &alone).1);
}

#[test]
fn the_node_itself_stays() {
    let old = load(GOOD).unwrap().node;
    let new = load(&GOOD.replace(
        "name = \"server-1\"",
        "name = \"server-9\"\nrun_dir = \"/run/other\"",
    ))
    .unwrap()
    .node;
    let changes = old.changes(&new);
    let words: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(
        words,
        [
            "node: name server-1 -> server-9",
            "node: run_dir /run/l2ha -> /run/other"
        ]
    );
}
