//! Mistakes about cookies: none of them shows a cookie.

use super::{mistakes::expect, *};

#[test]
fn each_mistake_about_cookies_is_found_and_none_shows_one() {
    let folder = cookies();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (value, what, remedy) in [
        (
            "\"gone\"",
            "is not there",
            format!("make it with `l2ha genkey --output {}`", path("gone")),
        ),
        (
            "\"open\"",
            "mode 0644",
            format!("call `chmod 600 {}`", path("open")),
        ),
        (
            "\"short\"",
            "has 7 characters",
            format!("`l2ha genkey --output {}`", path("short")),
        ),
        (
            "\"words\"",
            "a cookie is 8 or 16 hexadecimal digits",
            format!("`rm {}`", path("words")),
        ),
        ("\"empty\"", "has 0 characters", "for both ends".to_owned()),
        ("\"folder\"", "not a plain file", "l2ha genkey".to_owned()),
        (
            "\"\"",
            "no file name",
            "write `receive_cookie_file = \"/etc/l2ha/client.key\"`".to_owned(),
        ),
        (
            "\"deadbee0\"",
            "looks like a cookie",
            "has been seen".to_owned(),
        ),
        (
            "12345678",
            "must be a string",
            "\"/etc/l2ha/client.receive\"".to_owned(),
        ),
        (
            "\"same-as-b\"",
            "the same as the one to send (line 11)",
            "l2ha genkey".to_owned(),
        ),
    ] {
        let new =
            format!("send_cookie_file = \"b\"\nreceive_cookie_file = {value}\nsession_id = 1001");
        let errors = load_in(folder.path(), &GOOD.replace("session_id = 1001", &new));
        expect(
            &errors,
            12,
            "tunnels[0].receive_cookie_file",
            what,
            &remedy,
            value,
        );
        let shown = errors.unwrap_err().to_string();
        for secret in ["deadbee", "not a cookie at all", "00112233", "12345678"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn another_users_cookie_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let folder = cookies();
    std::os::unix::fs::chown(folder.path().join("a"), Some(12345), None).unwrap();
    let new = "receive_cookie_file = \"a\"\nsession_id = 1001";
    let errors = load_in(folder.path(), &GOOD.replace("session_id = 1001", new));
    expect(
        &errors,
        11,
        "tunnels[0].receive_cookie_file",
        "belongs to user 12345",
        "call `chown 0 ",
        new,
    );
}
