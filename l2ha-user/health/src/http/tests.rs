//! TLS with OpenSSL's server, and certificates that OpenSSL has made.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::*;

/// What `openssl ca` wants to know.
const CA: &str = "
[ca]
default_ca = lab
[lab]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
";

fn openssl(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments);
    let output = command.output().expect("openssl is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {said}");
}

/// Makes an authority, and by it certificates for shop.example: one that is good and one that has expired.
fn certificates(folder: &Path) {
    fs::write(folder.join("ca.conf"), CA).unwrap();
    fs::write(folder.join("index.txt"), "").unwrap();
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let mut authority = vec!["req", "-x509", "-subj", "/CN=the lab", "-days", "2"];
    authority.extend(key);
    authority.extend(["-keyout", "ca.key", "-out", "ca.pem"]);
    openssl(folder, &authority);
    let mut request = vec!["req", "-new", "-subj", "/CN=shop.example"];
    request.extend(key);
    request.extend(["-addext", "subjectAltName=DNS:shop.example"]);
    request.extend(["-keyout", "shop.key", "-out", "shop.csr"]);
    openssl(folder, &request);
    for (name, end) in [
        ("good.pem", "20991231000000Z"),
        ("old.pem", "20210101000000Z"),
    ] {
        let sign = [
            "ca", "-batch", "-notext", "-config", "ca.conf", "-cert", "ca.pem",
        ];
        let mut sign = sign.to_vec();
        sign.extend(["-keyfile", "ca.key", "-in", "shop.csr", "-out", name]);
        sign.extend(["-startdate", "20200101000000Z", "-enddate", end]);
        openssl(folder, &sign);
    }
}

/// OpenSSL's web server.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path, certificate: &str) -> Self {
        let mut command = Command::new("openssl");
        command
            .current_dir(folder)
            .args(["s_server", "-www", "-accept", "127.0.0.1:0"])
            .args(["-key", "shop.key", "-cert", certificate])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("openssl is installed");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut addresses = lines.map_while(Result::ok).filter_map(|line| {
            let address = line.strip_prefix("ACCEPT ")?.parse();
            address.ok()
        });
        let address = addresses.next().expect("it says where it listens");
        // What it goes on to say is read, so that it does not wait for that.
        std::thread::spawn(move || addresses.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check(server: &Server, host: &str) -> HttpCheck {
    HttpCheck {
        url: format!("https://{host}/"),
        tls: true,
        verify: true,
        target: server.address,
        host: host.to_owned(),
        authority: host.to_owned(),
        path: "/".to_owned(),
        status: (200, 399),
        body: Some("s_server -www".to_owned()),
    }
}

#[test]
fn certificates_are_checked_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    certificates(folder);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let ours = TlsConnector::from(tls_config(Some(roots)).unwrap());
    let ask = |check: &HttpCheck, tls: &TlsConnector| {
        runtime.block_on(ask_over(check, Some(tls.clone())))
    };
    let anybody = |check: &HttpCheck| {
        let check = HttpCheck {
            verify: false,
            ..check.clone()
        };
        runtime.block_on(super::ask(&check))
    };

    let server = Server::start(folder, "good.pem");
    let good = check(&server, "shop.example");
    assert_eq!(ask(&good, &ours), Ok(()));
    let named = check(&server, "bank.example");
    let why = ask(&named, &ours).unwrap_err();
    assert_eq!(why, "the certificate is not for bank.example");
    assert_eq!(anybody(&named), Ok(()));
    let by_address = check(&server, "192.0.2.80");
    let why = ask(&by_address, &ours).unwrap_err();
    assert_eq!(why, "the certificate is not for 192.0.2.80");
    // Whatever authorities a host has, this is none of them.
    let mut others = RootCertStore::empty();
    let alone = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let rest = [
        "-subj",
        "/CN=others",
        "-keyout",
        "others.key",
        "-out",
        "others.pem",
    ];
    openssl(folder, &[&alone[..], &rest[..]].concat());
    let other = CertificateDer::from_pem_file(folder.join("others.pem")).unwrap();
    others.add(other).unwrap();
    let theirs = TlsConnector::from(tls_config(Some(others)).unwrap());
    let why = ask(&good, &theirs).unwrap_err();
    assert!(
        why.starts_with("no authority of this host has signed"),
        "{why}"
    );
    assert_eq!(anybody(&good), Ok(()));
    drop(server);

    let server = Server::start(folder, "old.pem");
    let old = check(&server, "shop.example");
    assert_eq!(ask(&old, &ours).unwrap_err(), "the certificate has expired");
    assert_eq!(anybody(&old), Ok(()));
}
