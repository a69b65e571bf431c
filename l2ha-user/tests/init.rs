//! `l2ha init`, called as a person or a script would.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

const L2HA: &str = env!("CARGO_BIN_EXE_l2ha");

/// A folder for a cluster's two files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("l2ha.toml")
    }

    fn secret(&self) -> PathBuf {
        self.0.path().join("cluster.key")
    }

    /// `l2ha init` with these words, and the file as its output.
    fn init(&self, words: &[&str]) -> (i32, String, String) {
        let file = self.file();
        said(&[&["init", "--output", file.to_str().unwrap()], words].concat())
    }

    /// What `l2ha check` says of every node.
    fn expanded(&self) -> String {
        let file = self.file();
        let words = [
            "check",
            "--expand",
            "--all",
            "--config",
            file.to_str().unwrap(),
        ];
        let (code, out, error) = said(&words);
        assert_eq!(code, 0, "{error}\n{}", fs::read_to_string(file).unwrap());
        out
    }

    fn is_empty(&self) -> bool {
        fs::read_dir(self.0.path()).unwrap().next().is_none()
    }
}

/// Exit status, standard output and standard error.
fn said(words: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(L2HA)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        status.code().expect("no signal"),
        text(stdout),
        text(stderr),
    )
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

const TRIAL: &[&str] = &[
    "--name",
    "shop",
    "--server",
    "server-1=10.0.0.1",
    "--server",
    "server-2=10.0.0.2",
    "--server",
    "server-3=10.0.0.3",
    "--client",
    "client-1=10.0.0.9",
    "--client",
    "client-2=10.0.0.10",
    "--service",
    "web=2001:db8::80",
    "--check",
    "http://[2001:db8::80]/healthz",
];

#[test]
fn what_it_writes_passes_the_check_of_every_node() {
    let folder = Folder::new();
    let (code, out, error) = folder.init(TRIAL);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(
        (mode(&folder.secret()), mode(&folder.file()) & 0o777),
        (0o600, 0o644)
    );
    for line in [
        "cluster shop, 3 servers, 2 clients",
        "scp -p",
        "root@10.0.0.10:",
        "--node client-1 --output client-1.key",
        "l2ha check --config",
        "l2ha run --config",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    let secret = fs::read_to_string(folder.secret()).unwrap();
    assert_eq!(secret.trim().len(), 64);
    assert!(!out.contains(secret.trim()));
    let expanded = folder.expanded();
    assert_eq!(
        expanded.matches("[[tunnels]]").count(),
        18,
        "3 with 4 peers, 2 with 3"
    );
    assert_eq!(
        expanded.matches("address = \"2001:db8::80\"").count(),
        3,
        "on each server"
    );
    assert!(expanded.contains("bfd = \"50x3\""));

    // At most 16 lines for the trial's cluster.
    let text = fs::read_to_string(folder.file()).unwrap();
    let says = |line: &&str| !line.is_empty() && !line.starts_with('#');
    assert!(text.lines().filter(says).count() <= 16, "{text}");
}

/// On a host that is one of the nodes, where it has an address at all.
#[test]
fn the_host_knows_which_node_it_is() {
    let host = node::who(None).unwrap();
    let usable = |address: &std::net::IpAddr| match address {
        std::net::IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        std::net::IpAddr::V6(_) => false,
    };
    let mut addresses = host.addresses.iter().map(|(_, address)| *address);
    let Some(address) = addresses.find(usable) else {
        return;
    };
    let folder = Folder::new();
    let server = format!("here={address}");
    let (code, out, error) =
        folder.init(&["--name", "a", "--server", &server, "--server", "192.0.2.77"]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("This host is here."), "{out}");
    assert!(
        !out.contains(&format!("root@{address}")) && out.contains("root@192.0.2.77"),
        "{out}"
    );
    let file = folder.file();
    let (code, out, error) = said(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("fine: node here, 1 tunnel"), "{out}");
    assert!(
        fs::read_to_string(file)
            .unwrap()
            .contains("server-2 = \"192.0.2.77\"")
    );
}

#[test]
fn nothing_is_overwritten_unless_it_is_told_to() {
    for there in ["l2ha.toml", "cluster.key"] {
        let folder = Folder::new();
        let path = folder.0.path().join(there);
        fs::write(&path, "mine").unwrap();
        let (code, _, error) = folder.init(TRIAL);
        assert_eq!(code, 1);
        assert!(
            error.contains(&format!("{} is there already", path.display())),
            "{error}"
        );
        assert!(error.contains("`--force`"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 1);

        let (code, _, error) = folder.init(&[TRIAL, &["--force"]].concat());
        assert_eq!(code, 0, "{error}");
        assert_eq!(mode(&folder.secret()), 0o600);
        folder.expanded();
    }
}

#[test]
fn without_a_terminal_it_names_the_options_that_are_missing() {
    for (words, missing) in [
        (&[][..], &["`--name NAME`", "`--server NAME=ADDRESS`"][..]),
        (&["--name", "shop"], &["`--server NAME=ADDRESS`"]),
        (
            &[
                "--name",
                "shop",
                "--server",
                "10.0.0.1",
                "--service",
                "web=2001:db8::80",
            ],
            &["`--check CHECK` (or `--check none`)"],
        ),
    ] {
        let folder = Folder::new();
        let (code, out, error) = folder.init(words);
        assert_eq!((code, out.as_str()), (2, ""));
        let named = format!("options are missing: {};", missing.join(", "));
        assert!(error.contains(&named), "{error}");
        assert!(folder.is_empty());
    }
}

#[test]
fn wrong_answers_write_nothing_and_are_told_what_is_right() {
    let nodes = [
        "--name", "shop", "--server", "10.0.0.1", "--server", "10.0.0.2",
    ];
    for (words, said) in [
        (
            &["--server", "server-3"][..],
            "write it as server-3=10.0.0.1",
        ),
        (&["--server", "10.0.0.1"], "10.0.0.1"),
        (&["--server", "a=127.0.0.1"], "loopback"),
        (&["--server", "A Node=10.0.0.3"], "a-node"),
        (
            &["--service", "web", "--check", "none"],
            "write it as web=2001:db8::80",
        ),
        (
            &["--service", "web=fe80::1", "--check", "none"],
            "link-local",
        ),
        (
            &["--service", "web=2001:db8::80", "--check", "tcp"],
            "tcp:443",
        ),
        (
            &["--service", "web=2001:db8::80", "--check", "ping"],
            "write tcp:PORT",
        ),
        (
            &["--service", "web=2001:db8::80", "--check", "unit:nginx"],
            "nginx.service",
        ),
        (
            &["--service", "web=2001:db8::80", "--check", "http://"],
            "names no host",
        ),
    ] {
        let folder = Folder::new();
        let (code, out, error) = folder.init(&[&nodes[..], words].concat());
        assert_eq!((code, out.as_str()), (1, ""), "{words:?}");
        assert!(error.contains(said), "{words:?}: {error}");
        assert!(folder.is_empty());
    }
    let folder = Folder::new();
    let (code, _, error) = folder.init(&["--name", "shop", "--server", "10.0.0.1"]);
    assert_eq!(code, 1);
    assert!(error.contains("at least two nodes"), "{error}");
}

#[test]
fn every_kind_of_check() {
    for (check, toml) in [
        ("tcp:443", "check = { tcp = \"[2001:db8::80]:443\" }"),
        (
            "https://web.example/healthz",
            "check = { http = \"https://web.example/healthz\" }",
        ),
        ("unit:nginx.service", "check = { unit = \"nginx.service\" }"),
        (
            "exec:/bin/test -e /run/web",
            "check = { exec = [\"/bin/test\", \"-e\", \"/run/web\"] }",
        ),
        ("none", "# check = "),
    ] {
        let folder = Folder::new();
        let words = [
            "--name",
            "shop",
            "--server",
            "10.0.0.1",
            "--client",
            "2001:db8:77::9",
        ];
        let (code, _, error) = folder.init(
            &[
                &words[..],
                &[
                    "--client",
                    "10.0.0.9",
                    "--service",
                    "web=2001:db8::80",
                    "--check",
                    check,
                ],
            ]
            .concat(),
        );
        // A client that has no address of a server's family reaches nobody.
        assert_eq!(code, 1, "{error}");
        let words = [
            "--name", "shop", "--server", "10.0.0.1", "--client", "10.0.0.9",
        ];
        let (code, _, error) = folder.init(
            &[
                &words[..],
                &["--service", "web=2001:db8::80", "--check", check],
            ]
            .concat(),
        );
        assert_eq!(code, 0, "{error}");
        let text = fs::read_to_string(folder.file()).unwrap();
        assert!(text.contains(toml), "{text}");
        folder.expanded();
    }
}

/// Types these lines at a terminal.
fn typed(folder: &Folder, words: &str, lines: &str) -> (bool, String) {
    let file = folder.file();
    let command = format!("{L2HA} init --output {} {words}", file.display());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn at_a_terminal_it_asks_for_what_is_missing() {
    let folder = Folder::new();
    // A wrong answer is asked for again.
    let lines =
        "shop\rserver-1\r10.0.0.1 db=10.0.0.2\rclient-1=10.0.0.9\rweb=2001:db8::80\rtcp:8080\r";
    let (fine, out) = typed(&folder, "", lines);
    assert!(fine, "{out}");
    let text = fs::read_to_string(folder.file()).unwrap();
    for line in [
        "name = \"shop\"",
        "server-1 = \"10.0.0.1\"",
        "db = \"10.0.0.2\"",
        "client-1 = \"10.0.0.9\"",
        "check = { tcp = \"[2001:db8::80]:8080\" }",
    ] {
        assert!(text.contains(line), "{line}: {text}\n{out}");
    }
    folder.expanded();

    // What is given is not asked for, and what may be empty may be.
    let folder = Folder::new();
    let (fine, out) = typed(&folder, "--name shop", "10.0.0.1, 10.0.0.2\r\r\r");
    assert!(fine, "{out}");
    assert!(!out.contains("Name of the cluster"), "{out}");
    assert!(folder.expanded().contains("name = \"server-2\""));
}
