//! The built `l2ha`, called as a person or a script would.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

const GOOD: &str = r#"[node]
name = "server-1"
run_dir = "RUN"

[underlay]
interface = "eth0"
addresses = ["10.77.0.1"]

[[tunnels]]
name = "client"
remote = "10.77.0.9"
session_id = 1001
peer_session_id = 2001
"#;

fn l2ha(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_l2ha"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Exit status, standard output and standard error.
fn said(arguments: &[&str]) -> (i32, String, String) {
    let output = l2ha(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("no signal");
    let (out, error) = (text(output.stdout), text(output.stderr));
    for text in [&out, &error] {
        assert!(
            !text.contains('\x1b'),
            "colours without a terminal: {text:?}"
        );
    }
    (code, out, error)
}

/// A folder with a good configuration, and the file's path.
fn configured() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("l2ha.toml");
    fs::write(
        &file,
        GOOD.replace("RUN", &folder.path().display().to_string()),
    )
    .unwrap();
    let path = file.display().to_string();
    (folder, path)
}

/// A daemon's socket at which every question gets this answer.
fn daemon(socket: &Path, answer: Value) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            BufReader::new(&client)
                .read_line(&mut String::new())
                .unwrap();
            // The command may have gone, which is its affair.
            let _ = writeln!(client, "{answer}");
        }
    });
}

/// A node's status in one of the three states of health, with a problem in the last two.
fn status(health: &str) -> Value {
    let problems = match health {
        "healthy" => json!([]),
        severity => json!([{
            "id": "tunnel-not-in-place", "severity": severity, "subject": {"tunnel": "client"},
            "text": "l2-client was deleted", "remedy": "see the log", "since_ms": 7,
        }]),
    };
    json!({"version": 1, "ok": true, "data": {
        "health": health, "problems": problems,
        "node": "server-1", "pid": 4711, "uptime_s": 61, "version": "0.1.0",
        "config_file": "/etc/l2ha/l2ha.toml",
        "underlay": {
            "interface": "eth0", "ifindex": 2, "addresses": ["10.77.0.1"], "mtu": 1500,
            "hook": "xdp", "why_not_xdp": null, "problem": null,
        },
        "tunnels": [{
            "name": "client", "interface": "l2-client",
            "up": true, "problem": null,
            "local": "10.77.0.1", "remote": "10.77.0.9", "encapsulation": "udp 1701 1701",
            "session_id": 1001, "peer_session_id": 2001,
            "send_cookie_bytes": 8, "receive_cookie_bytes": 8, "sublayer": "none", "mtu": 1442,
            "rx_packets": 1, "rx_bytes": 100, "tx_packets": 2, "tx_bytes": 200,
        }],
        "services": [],
        "dataplane": {"reasons": {"wrong_cookie": 3}},
        "ospf": null, "repairs": {}, "socket": {},
    }})
}

#[test]
fn version_and_usage() {
    let (code, out, _) = said(&["--version"]);
    assert_eq!(
        (code, out.trim()),
        (0, concat!("l2ha ", env!("CARGO_PKG_VERSION")))
    );
    let (code, _, error) = said(&["stats"]);
    assert_eq!(code, 2);
    assert!(error.contains("status"), "{error}");
    assert_eq!(said(&[]).0, 2);
    assert_eq!(said(&["run", "--log", "loud"]).0, 2);
    assert_eq!(said(&["genkey", "--bytes", "5"]).0, 2);
}

#[test]
fn check_shows_what_is_wrong_and_run_does_not_start_with_it() {
    let (folder, file) = configured();
    let (code, out, _) = said(&["check", "--config", &file]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("fine: node server-1, 1 tunnel"), "{out}");
    assert!(
        out.contains("note: tunnel client: without a receive_cookie_file"),
        "{out}"
    );

    let bad = folder.path().join("bad.toml");
    fs::write(&bad, "[node]\nname = 1\n").unwrap();
    let bad = bad.display().to_string();
    for command in ["check", "run"] {
        let (code, out, error) = said(&[command, "--config", &bad]);
        assert_eq!((code, out.as_str()), (2, ""));
        let line = format!("{bad}:2: node.name: must be a string, not a whole number; write");
        assert!(error.contains(&line), "{error}");
    }

    let (code, out, _) = said(&["check", "--json", "--config", &bad]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["ok"]), (2, &Value::Bool(false)));
    assert_eq!(answer["errors"][0]["line"], 2);
    assert_eq!(answer["errors"].as_array().unwrap().len(), 2);

    let gone = folder.path().join("gone.toml").display().to_string();
    let (code, _, error) = said(&["check", "--config", &gone]);
    assert_eq!(code, 2);
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn genkey_writes_what_check_accepts() {
    let (folder, file) = configured();
    let key = |name: &str| folder.path().join(name).display().to_string();
    let (send, receive) = (key("send"), key("receive"));
    assert_eq!(said(&["genkey", "--output", &send]).0, 0);
    assert_eq!(said(&["genkey", "--bytes", "4", "--output", &receive]).0, 0);
    let text = fs::read_to_string(&file).unwrap();
    let text = format!("{text}send_cookie_file = {send:?}\nreceive_cookie_file = {receive:?}\n");
    fs::write(&file, text).unwrap();
    let (code, out, error) = said(&["check", "--config", &file]);
    assert_eq!(code, 0, "{error}");
    assert!(!out.contains("note:"), "{out}");

    fs::set_permissions(&send, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, error) = said(&["check", "--config", &file]);
    assert_eq!(code, 2);
    assert!(
        error.contains(&format!("call `chmod 600 {send}`")),
        "{error}"
    );
    let (code, _, error) = said(&["genkey", "--output", &send]);
    assert_eq!(code, 1);
    assert!(error.contains("is there already"), "{error}");

    let (code, out, _) = said(&["genkey"]);
    assert_eq!((code, out.trim().len()), (0, 16));
}

#[test]
fn without_a_daemon_the_commands_say_so() {
    let (folder, file) = configured();
    for words in [
        &["status"][..],
        &["ospf", "neighbors"],
        &["ospf", "routes", "--json"],
    ] {
        let (code, out, error) = said(&[words, &["--config", &file]].concat());
        // A node without a daemon has failed.
        let exit = if words[0] == "status" { 2 } else { 1 };
        assert_eq!((code, out.as_str()), (exit, ""));
        let socket = folder.path().join("server-1.sock");
        assert!(error.contains(&socket.display().to_string()), "{error}");
        assert!(error.contains("l2ha run --config FILE"), "{error}");
    }
}

#[test]
fn status_tells_health_in_its_first_line_and_exit_status() {
    let (folder, file) = configured();
    daemon(&folder.path().join("server-1.sock"), status("healthy"));
    let (code, out, _) = said(&["status", "--config", &file]);
    assert_eq!(code, 0);
    assert_eq!(out.lines().next(), Some("server-1: healthy"));
    let (code, out, _) = said(&["status", "--config", &file, "--json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer), (0, &status("healthy")["data"]));
    // Of the file, only [node] is needed.
    fs::write(
        &file,
        fs::read_to_string(&file).unwrap() + "\n[ospf]\nrouter_id = 1\n",
    )
    .unwrap();
    assert_eq!(said(&["status", "--config", &file]).0, 0);

    for (health, exit) in [("degraded", 1), ("failed", 2)] {
        let other = folder.path().join(format!("{health}.sock"));
        daemon(&other, status(health));
        let socket = other.display().to_string();
        let (code, out, _) = said(&["status", "--socket", &socket]);
        assert_eq!(code, exit);
        let lines: Vec<&str> = out.lines().take(3).collect();
        assert_eq!(
            lines,
            [
                format!("server-1: {health}, 1 problem").as_str(),
                format!("  {health}: tunnel client: l2-client was deleted").as_str(),
                "    -> see the log",
            ]
        );
        // It stays so, for as long as it is waited for.
        let waited = said(&["status", "--wait", "1", "--json", "--socket", &socket]);
        assert_eq!(waited.0, exit);
    }
}

#[test]
fn status_waits_for_a_daemon_that_is_still_to_come() {
    let (folder, file) = configured();
    let socket = folder.path().join("server-1.sock");
    let comes = thread::spawn(move || {
        thread::sleep(std::time::Duration::from_millis(500));
        daemon(&socket, status("healthy"));
    });
    let (code, out, _) = said(&["status", "--wait", "60", "--config", &file]);
    assert_eq!((code, out.lines().next()), (0, Some("server-1: healthy")));
    comes.join().unwrap();
}

/// Calls `l2ha` with an output whose reader has gone before the first byte.
fn with_closed_pipe(arguments: &[&str], error_too: bool) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_l2ha"));
    command.args(arguments).stdin(Stdio::null());
    if error_too {
        command.stderr(writer.try_clone().unwrap());
    } else {
        command.stderr(Stdio::piped());
    }
    let mut child = command.stdout(writer).spawn().unwrap();
    let mut error = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut error).unwrap();
    }
    (child.wait().unwrap().code(), error)
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let (folder, file) = configured();
    let socket: PathBuf = folder.path().join("server-1.sock");
    daemon(&socket, status("healthy"));
    for arguments in [
        &["status", "--config", &file][..],
        &["status", "--json", "--config", &file],
        &["check", "--config", &file],
        &["genkey"],
        &["--help"],
        &["--version"],
    ] {
        let (code, error) = with_closed_pipe(arguments, false);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{arguments:?}");
    }
    // With `2>&1 | head -1` the complaints have no reader either.
    let gone = folder.path().join("gone.toml").display().to_string();
    assert_eq!(
        with_closed_pipe(&["check", "--config", &gone], true).0,
        Some(2)
    );
    assert_eq!(
        with_closed_pipe(&["status", "--config", &gone], true).0,
        Some(2)
    );
}
