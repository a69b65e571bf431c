//! Keys of a tunnel alone, and what is rotated.

use ospfv3::Credential;

use super::{mistakes::expect, *};

/// A folder with secrets: old and new ones.
fn secrets() -> tempfile::TempDir {
    let folder = cookies();
    for (name, text) in [
        ("old.send", "a0a0a0a0a0a0a0a0"),
        ("new.send", "a1a1a1a1a1a1a1a1"),
        ("old.receive", "b0b0b0b0b0b0b0b0"),
        ("new.receive", "b1b1b1b1b1b1b1b1"),
        ("old.key", "old-open-sesame"),
        ("new.key", "new-open-sesame"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// The file with these lines in its tunnel, of which the first is line 13.
fn with(lines: &str) -> String {
    let id = "peer_session_id = 2001";
    let bfd = GOOD.replace("[ospf]\n", "[ospf]\nbfd = \"50x3\"\n");
    bfd.replace(id, &format!("{id}\n{lines}"))
}

/// What a tunnel says with one set of secrets.
fn single(which: &str, id: u8) -> String {
    with(&format!(
        "send_cookie_file = \"{which}.send\"\nreceive_cookie_file = \"{which}.receive\"\n\
         ospf_key_file = \"{which}.key\"\nospf_key_id = {id}\nbfd_key_file = \"{which}.key\"\nbfd_key_id = {id}"
    ))
}

/// What it says during a rotation.
fn both() -> String {
    let previous = "send_cookie_previous_file = \"old.send\"\nreceive_cookie_previous_file = \"old.receive\"\n\
         ospf_key_previous_file = \"old.key\"\nospf_key_previous_id = 4\n\
         bfd_key_previous_file = \"old.key\"\nbfd_key_previous_id = 4\nospf_key_id = 5";
    single("new", 5).replace("ospf_key_id = 5", previous)
}

#[test]
fn a_tunnels_own_keys_stand_in_place_of_the_nodes() {
    let folder = secrets();
    let keys =
        "[[ospf_keys]]\nid = 9\nsecret_file = \"b\"\n[[bfd_keys]]\nid = 9\nsecret_file = \"b\"\n";
    let text = format!("{}{SECOND}{keys}", single("old", 4));
    let config = load_in(folder.path(), &text).unwrap();
    let ids = |index: usize| {
        let tunnel = &config.tunnels[index];
        let chain = config.key_chain(tunnel).unwrap();
        let ospf: Vec<u16> = chain.keys.iter().map(|key| key.sa_id).collect();
        let bfd: Vec<u8> = config.bfd_keys(tunnel).iter().map(|key| key.id).collect();
        (ospf, bfd)
    };
    assert_eq!(ids(0), (vec![4], vec![4]));
    assert_eq!(ids(1), (vec![9], vec![9]));
    assert_eq!(config.tunnels[0].rotation(), None);
    let shown = format!("{config:?}");
    assert!(!shown.contains("sesame"), "{shown}");
}

#[test]
fn a_rotation_says_what_is_accepted_and_what_is_present() {
    let folder = secrets();
    let config = load_in(folder.path(), &both()).unwrap();
    let tunnel = &config.tunnels[0];
    let chain = config.key_chain(tunnel).unwrap();
    let ids: Vec<u16> = chain.keys.iter().map(|key| key.sa_id).collect();
    assert_eq!(ids, [5, 4]);
    let rotation = tunnel.rotation().unwrap();
    assert_eq!(rotation.former, 4);
    assert_eq!(
        rotation.accepts,
        [
            Credential::ospf_key(5),
            Credential::ospf_key(4),
            Credential::bfd_key(5),
            Credential::bfd_key(4),
            Credential::cookie(&[0xb1; 8]),
            Credential::cookie(&[0xb0; 8]),
        ]
    );
    assert_eq!(
        rotation.present,
        [
            Credential::ospf_key(5),
            Credential::cookie(&[0xa1; 8]),
            Credential::bfd_key(5),
        ]
    );
}

#[test]
fn two_rolling_reloads_interrupt_nothing_and_one_does() {
    let folder = secrets();
    let load = |text: &str| load_in(folder.path(), text).unwrap_or_else(|it| panic!("{it}"));
    let steps = [
        load(&single("old", 4)),
        load(&both()),
        load(&single("new", 5)),
    ];
    for (from, to, interrupts) in [(0, 1, false), (1, 2, false), (0, 2, true)] {
        let changes = steps[from].changes(&steps[to]);
        assert!(changes.len() >= 4, "{changes:?}");
        let any = changes.iter().any(|it| it.interrupts.is_some());
        assert_eq!(any, interrupts, "{from} to {to}: {changes:?}");
        let shown = format!("{changes:?}");
        assert!(
            !shown.contains("sesame") && !shown.contains("a1a1"),
            "{shown}"
        );
    }
}

#[test]
fn each_mistake_about_keys_is_found() {
    let folder = secrets();
    for (lines, line, key, what, remedy) in [
        (
            "ospf_key_previous_file = \"old.key\"",
            13,
            "ospf_key_previous_file",
            "a former key but no present one",
            "add `ospf_key_file = \"FILE\"`",
        ),
        (
            "ospf_key_file = \"new.key\"\nospf_key_previous_file = \"old.key\"",
            14,
            "ospf_key_previous_file",
            "the id of the present one",
            "as `ospf_key_previous_id`, and another as `ospf_key_id`",
        ),
        (
            "ospf_key_file = \"new.key\"\nospf_key_id = 0",
            14,
            "ospf_key_id",
            "0 is not in 1 to 65535",
            "write `ospf_key_id = 1`",
        ),
        (
            "bfd_key_file = \"new.key\"\nbfd_key_id = 2\nbfd_key_previous_file = \"old.key\"",
            15,
            "bfd_key_previous_file",
            "signed with OSPF's former key",
            "add `ospf_key_previous_file = \"FILE\"`",
        ),
        (
            "send_cookie_file = \"new.send\"\nsend_cookie_previous_file = \"old.send\"",
            14,
            "send_cookie_previous_file",
            "signed with OSPF's former key",
            "add `ospf_key_previous_file = \"FILE\"`",
        ),
        (
            "send_cookie_previous_file = \"old.send\"\nospf_key_file = \"new.key\"\nospf_key_id = 2\n\
             ospf_key_previous_file = \"old.key\"",
            13,
            "send_cookie_previous_file",
            "a former cookie but no present one",
            "add `send_cookie_file = \"FILE\"`",
        ),
        (
            "send_cookie_file = \"new.send\"\nsend_cookie_previous_file = \"a\"\nospf_key_file = \"new.key\"\n\
             ospf_key_id = 2\nospf_key_previous_file = \"old.key\"",
            14,
            "send_cookie_previous_file",
            "has 4 bytes, and the present one 8 (line 13)",
            "l2ha genkey --bytes",
        ),
        (
            "ospf = false\nospf_key_file = \"new.key\"",
            14,
            "ospf_key_file",
            "OSPF does not run over this tunnel",
            "remove it, or write `ospf = true`",
        ),
    ] {
        let id = "peer_session_id = 2001";
        let text = GOOD.replace(id, &format!("{id}\n{lines}"));
        let text = match lines.starts_with("ospf = false") {
            true => format!("{text}{SECOND}"),
            false => text,
        };
        let key = format!("tunnels[0].{key}");
        expect(
            &load_in(folder.path(), &text),
            line,
            &key,
            what,
            remedy,
            lines,
        );
    }
}
