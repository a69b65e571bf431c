//! TLS and users: who may, who may not, and what an operator is told.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use membership::Done;
use tempfile::TempDir;

use crate::harness::{
    etcd::{Etcd, Options},
    host::{Host, PREFIX},
};

const PASSWORD: &str = "correct-horse-battery";

fn openssl(folder: &Path, arguments: &[&str]) {
    let done = Command::new("openssl")
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("openssl(1): apt-get install openssl");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments:?}: {said}");
}

/// An authority `NAME-ca`, and a certificate of it.
fn certify(folder: &Path, ca: &str, name: &str) {
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    if !folder.join(format!("{ca}.pem")).exists() {
        let (file, out) = (format!("{ca}.key"), format!("{ca}.pem"));
        let subject = format!("/CN={ca}");
        let rest = [
            "-keyout", &file, "-out", &out, "-subj", &subject, "-days", "2",
        ];
        openssl(folder, &[&["req", "-x509"], &key[..], &rest[..]].concat());
    }
    let (file, request, out) = (
        format!("{name}.key"),
        format!("{name}.csr"),
        format!("{name}.pem"),
    );
    let subject = format!("/CN={name}");
    let rest = ["-keyout", &file, "-out", &request, "-subj", &subject];
    openssl(folder, &[&["req"], &key[..], &rest[..]].concat());
    fs::write(
        folder.join("extensions"),
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
    )
    .unwrap();
    let (ca_file, ca_key) = (format!("{ca}.pem"), format!("{ca}.key"));
    openssl(
        folder,
        &[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca_file,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-out",
            &out,
            "-days",
            "2",
            "-extfile",
            "extensions",
        ],
    );
    let file = folder.join(file);
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn certificates_let_in_who_has_the_right_ones_and_others_are_told_which_is_wrong() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    certify(folder.path(), "ca", "server");
    certify(folder.path(), "ca", "node");
    certify(folder.path(), "other-ca", "stranger");
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let etcd = Etcd::start_with(Options {
        tls: true,
        arguments: vec![
            "--cert-file".to_owned(),
            text("server.pem"),
            "--key-file".to_owned(),
            text("server.key"),
            "--client-cert-auth".to_owned(),
            "--trusted-ca-file".to_owned(),
            text("ca.pem"),
        ],
        ctl: Vec::new(),
    });
    let mut host = Host::new(&[etcd.url()], "web-1", 1);
    let mut attempt = |ca: &str, node: Option<&str>| {
        host.settings.ca_file = Some(path(ca));
        host.settings.certificate =
            node.map(|node| (path(&format!("{node}.pem")), path(&format!("{node}.key"))));
        host.join_within(Duration::ZERO)
            .map_err(|why| format!("{why:#}"))
    };
    let wrong = attempt("other-ca.pem", Some("node")).unwrap_err();
    println!("wrong authority: {wrong}");
    assert!(wrong.contains("UnknownIssuer"), "{wrong}");
    assert!(wrong.contains("ca_file"), "{wrong}");
    let missing = attempt("ca.pem", None).unwrap_err();
    println!("no certificate: {missing}");
    assert!(missing.contains("cert_file"), "{missing}");
    let stranger = attempt("ca.pem", Some("stranger")).unwrap_err();
    println!("another authority's certificate: {stranger}");
    assert!(stranger.contains("cert_file"), "{stranger}");
    for text in [&wrong, &missing, &stranger] {
        assert!(text.len() < 300, "{text}");
    }
    assert_eq!(attempt("ca.pem", Some("node")), Ok(Done::Now));
    let watch = host.watch();
    watch.wait_present("web-1");
}

#[test]
fn nobody_listening_is_said_shortly() {
    let host = Host::new(&["http://127.0.0.1:1".to_owned()], "web-1", 1);
    let why = format!("{:#}", host.join_within(Duration::ZERO).unwrap_err());
    println!("{why}");
    assert!(
        why.contains("http://127.0.0.1:1: Connection refused"),
        "{why}"
    );
    assert!(why.len() < 200, "{why}");
}

/// Enables users: `root`, and these with what their role may.
fn enable_users(etcd: &mut Etcd, users: &[(&str, &[&[&str]])]) {
    etcd.ctl(&["user", "add", "root:root-password"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    for (user, grants) in users {
        etcd.ctl(&["user", "add", &format!("{user}:{PASSWORD}")]);
        etcd.ctl(&["role", "add", user]);
        for grant in *grants {
            etcd.ctl(&[&["role", "grant-permission", user], *grant].concat());
        }
        etcd.ctl(&["user", "grant-role", user, user]);
    }
    etcd.ctl(&["auth", "enable"]);
    etcd.set_ctl(&["--user", "root:root-password"]);
}

fn with_user(mut host: Host, user: &str, password: &str) -> Host {
    let file = host.folder().join("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    host.settings.user = Some((user.to_owned(), file));
    host
}

#[test]
fn users_let_in_who_has_the_password_and_the_right_and_others_are_refused_at_once() {
    let mut etcd = Etcd::start();
    enable_users(
        &mut etcd,
        &[
            ("l2ha", &[&["--prefix=true", "readwrite", PREFIX]]),
            ("idle", &[]),
        ],
    );
    let urls = [etcd.url()];
    let refused = |host: &Host| {
        let began = Instant::now();
        let why = format!(
            "{:#}",
            host.join_within(Duration::from_secs(60)).unwrap_err()
        );
        println!("{why}");
        assert!(began.elapsed() < Duration::from_secs(20), "{why}");
        assert!(!why.contains(PASSWORD) && why.len() < 250, "{why}");
        why
    };
    let nobody = refused(&Host::new(&urls, "web-1", 1));
    assert!(nobody.contains("user name is empty"), "{nobody}");
    let wrong = refused(&with_user(Host::new(&urls, "web-1", 1), "l2ha", "wrong"));
    assert!(wrong.contains("invalid user ID or password"), "{wrong}");
    let idle = refused(&with_user(Host::new(&urls, "web-1", 1), "idle", PASSWORD));
    assert!(idle.contains("permission denied"), "{idle}");
    let good = with_user(Host::new(&urls, "web-1", 1), "l2ha", PASSWORD);
    let watch = good.run();
    let shown = format!("{:?} {:?}", watch.news(), good.settings);
    assert!(!shown.contains(PASSWORD));
}

#[test]
fn the_pages_commands_make_a_user_that_suffices() {
    const PAGE: &str = include_str!("../../../../docs/membership.md");
    let (_, commands) = PAGE.split_once("```sh\n").unwrap();
    let (commands, _) = commands.split_once("```").unwrap();
    let mut etcd = Etcd::start();
    for line in commands.lines() {
        let words = line.strip_prefix("etcdctl ").unwrap();
        // It would ask for the password.
        let words = match words {
            "user add l2ha" => format!("user add l2ha:{PASSWORD}"),
            words => words.to_owned(),
        };
        etcd.ctl(&words.split(' ').collect::<Vec<_>>());
    }
    enable_users(&mut etcd, &[]);
    let urls = [etcd.url()];
    let host = with_user(Host::new(&urls, "web-1", 1), "l2ha", PASSWORD);
    let watch = host.run();
    let other = with_user(Host::new(&urls, "web-2", 2), "l2ha", PASSWORD);
    other.join().unwrap();
    watch.wait_names(&["web-1", "web-2"]);
    assert_eq!(other.forget("web-2", false).unwrap(), Done::Now);
    watch.wait_names(&["web-1"]);
    assert_eq!(other.accept().unwrap(), Vec::<String>::new());
}

#[test]
fn a_user_of_one_node_writes_its_own_keys_alone() {
    // The least that a node needs: etcdctl role grant-permission web-1 ...
    //   --prefix=true read /l2ha/shop/         to hear of the others
    //   readwrite /l2ha/shop/members/web-1     its record
    //   readwrite /l2ha/shop/alive/web-1       its lease's key
    let mut etcd = Etcd::start();
    let member = format!("{PREFIX}members/web-1");
    let alive = format!("{PREFIX}alive/web-1");
    enable_users(
        &mut etcd,
        &[
            (
                "web-1",
                &[
                    &["--prefix=true", "read", PREFIX],
                    &["readwrite", &member],
                    &["readwrite", &alive],
                ],
            ),
            ("operator", &[&["--prefix=true", "readwrite", PREFIX]]),
        ],
    );
    let urls = [etcd.url()];
    let own = with_user(Host::new(&urls, "web-1", 1), "web-1", PASSWORD);
    let watch = own.run();
    let other = with_user(Host::new(&urls, "web-2", 2), "operator", PASSWORD);
    other.join().unwrap();
    watch.wait_names(&["web-1", "web-2"]);
    let refused = format!("{:#}", own.forget("web-2", true).unwrap_err());
    assert!(refused.contains("permission denied"), "{refused}");
    let intruder = with_user(Host::new(&urls, "web-3", 3), "web-1", PASSWORD);
    let refused = format!("{:#}", intruder.join().unwrap_err());
    assert!(refused.contains("permission denied"), "{refused}");
    drop(watch);
    assert_eq!(own.leave().unwrap(), Done::Now);
}

#[test]
fn a_token_that_has_expired_is_renewed() {
    let mut etcd = Etcd::start_with(Options {
        arguments: vec!["--auth-token-ttl".to_owned(), "1".to_owned()],
        ..Options::default()
    });
    enable_users(
        &mut etcd,
        &[("l2ha", &[&["--prefix=true", "readwrite", PREFIX]])],
    );
    let host = with_user(Host::new(&[etcd.url()], "web-1", 1), "l2ha", PASSWORD);
    let watch = host.run();
    // Several times as long as token and lease.
    std::thread::sleep(Duration::from_secs(6));
    let before = watch.news().revision;
    etcd.ctl(&["del", &format!("{PREFIX}alive/web-1")]);
    watch.wait("it was put again", |news| news.revision >= before + 2);
    let news = watch.wait_present("web-1");
    assert_eq!((news.retries, news.own_problem), (0, None));
}
