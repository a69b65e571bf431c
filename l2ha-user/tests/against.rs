//! `l2ha check --against`, called as a person or a script would.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::{Value, json};

const SERVER: &str = r#"[node]
name = "server-1"

[underlay]
interface = "eth0"
addresses = ["10.77.0.1"]

[[tunnels]]
name = "client"
remote = "10.77.0.9"
session_id = 1001
peer_session_id = 2001
send_cookie_file = "/etc/l2ha/client.send"
"#;
const CLIENT: &str = r#"[node]
name = "client"

[underlay]
interface = "eth0"
addresses = ["10.77.0.9"]

[[tunnels]]
name = "server-1"
remote = "10.77.0.1"
session_id = 2001
peer_session_id = 1001
receive_cookie_file = "/etc/l2ha/server-1.receive"
"#;

/// What is said of the files, at a folder with both.
fn compared(client: &str, more: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("server.toml", SERVER), ("client.toml", client)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let words = [
        "check",
        "--config",
        "server.toml",
        "--against",
        "client.toml",
    ];
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_l2ha"))
        .args(words)
        .args(more)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn files_that_fit_are_fine_and_what_was_not_compared_is_noted() {
    let (code, out, error) = compared(CLIENT, &[]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(
        out.starts_with("2 files fit: 1 tunnel compared at both ends\n"),
        "{out}"
    );
    assert_eq!(out.matches("note: ").count(), 2, "{out}");
}

#[test]
fn what_does_not_fit_is_shown_with_both_places() {
    let client = CLIENT.replace("session_id = 2001", "session_id = 2010");
    let (code, _, error) = compared(&client, &[]);
    assert_eq!(code, 2);
    let line = "server.toml:12 and client.toml:11: from server-1 to client: `peer_session_id = 2001` at server-1, \
                but `session_id = 2010` at client; write `session_id = 2001` in client.toml, or \
                `peer_session_id = 2010` in server.toml [session-id]";
    assert_eq!(
        error.lines().collect::<Vec<_>>(),
        [line, "2 files: 1 thing does not fit"]
    );

    let (code, out, _) = compared(&client, &["--json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["ok"]), (2, &json!(false)));
    assert_eq!(answer["files"], json!(["server.toml", "client.toml"]));
    let misfit = &answer["misfits"][0];
    assert_eq!(misfit["id"], "session-id");
    assert_eq!(
        misfit["places"][1],
        json!({"file": "client.toml", "line": 11, "key": "tunnels[0].session_id"})
    );
    assert_eq!(
        (&answer["tunnels"], &answer["errors"]),
        (&json!(1), &json!([]))
    );
}

#[test]
fn mistakes_of_one_file_come_first() {
    let (code, _, error) = compared(&CLIENT.replace("name = \"client\"", "name = 1"), &[]);
    assert_eq!(code, 2);
    assert!(error.starts_with("client.toml:2: node.name:"), "{error}");
    assert!(error.contains("nothing was compared"), "{error}");
    let (code, _, error) = compared(CLIENT, &["server.toml"]);
    assert_eq!(code, 1);
    assert!(error.contains("server.toml is named twice"), "{error}");
}
