//! What a cluster's file and secret come to, by a program that was written from docs/cluster.md alone.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

/// That program.
const DERIVED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/derived.py");
/// Clusters: the name, the secret's bytes, servers, clients.
const CLUSTERS: &[(&str, u8, &[&str], &[&str])] = &[
    (
        "shop",
        0x00,
        &["server-1", "server-2", "server-with-a-long-name"],
        &["client-1", "a-long-name-1", "a-long-name-2"],
    ),
    ("a", 0xff, &["a"], &["b"]),
    (
        "thirty-two-characters-of-a-name0",
        0x5c,
        &["b", "a", "thirty-two-characters-of-a-name1"],
        &["thirty-two-characters-of-a-name2", "z", "y"],
    ),
];

fn run(command: &mut Command) -> Output {
    let ran = command.output();
    ran.unwrap_or_else(|error| {
        panic!("{command:?}: {error} (on Debian: `apt-get install python3`)")
    })
}

fn l2ha(words: &[&str]) {
    let output = run(Command::new(env!("CARGO_BIN_EXE_l2ha")).args(words));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "l2ha {words:?}: {error}");
}

fn compared(file: &Path, folder: &Path) -> (bool, String) {
    let output = run(Command::new("python3").args([DERIVED.as_ref(), file, folder]));
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The file of a cluster and its secret.
fn write(folder: &Path, (name, first, servers, clients): (&str, u8, &[&str], &[&str])) {
    let secret = folder.join("cluster.key");
    let bytes = (0..32).map(|at| format!("{:02x}", first.wrapping_add(at)));
    fs::write(&secret, bytes.collect::<String>()).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let mut text = format!("[cluster]\nname = \"{name}\"\nsecret_file = {secret:?}\n");
    for (network, (role, names)) in [("servers", servers), ("clients", clients)]
        .into_iter()
        .enumerate()
    {
        text.push_str(&format!("[cluster.{role}]\n"));
        for (host, name) in names.iter().enumerate() {
            text.push_str(&format!("{name} = \"10.0.{network}.{}\"\n", host + 1));
        }
    }
    fs::write(folder.join("l2ha.toml"), text).unwrap();
}

#[test]
fn an_independent_program_derives_the_same() {
    for &cluster in CLUSTERS {
        let home = tempfile::tempdir().unwrap();
        write(home.path(), cluster);
        let file = home.path().join("l2ha.toml");
        let out = home.path().join("out");
        let (config, folder) = (file.to_str().unwrap(), out.to_str().unwrap());
        l2ha(&[
            "check", "--config", config, "--expand", "--all", "--output", folder,
        ]);
        let (_, _, servers, clients) = cluster;
        for client in clients {
            let key = out.join(client).join("node.key");
            let key = key.to_str().unwrap();
            l2ha(&[
                "genkey",
                "--cluster",
                config,
                "--node",
                client,
                "--output",
                key,
            ]);
        }
        let (good, text) = compared(&file, &out);
        assert!(good, "{}: {text}", cluster.0);
        // Nine of each end of each tunnel, three of each node, and the clients' keys.
        let (servers, clients) = (servers.len(), clients.len());
        let ends = servers * (servers - 1) + 2 * servers * clients;
        let count = 9 * ends + 3 * (servers + clients) + clients;
        assert!(text.contains(&format!("{count} values")), "{text}");

        // What does not fit is found.
        let cookie = out
            .join(cluster.2[0])
            .join(format!("{}.send", cluster.3[0]));
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&cookie, "0011223344556677\n").unwrap();
        let (good, text) = compared(&file, &out);
        assert!(
            !good && text.matches("send_cookie_file").count() == 1,
            "{text}"
        );
    }
}
