//! The two ends of a tunnel: everything but OSPF.

use std::fmt::Display;

use l2ha_ebpf::plan::{Cookie, Encapsulation, Sublayer};

use super::{misfit::Misfits, pairs::End};
use crate::types::Tunnel;

/// MTU of an underlay that is not said to be another.
const USUAL_MTU: u16 = 1500;

/// Adds what does not fit between two ends.
pub(super) fn compare(found: &mut Misfits, one: &End<'_>, other: &End<'_>) {
    let subject = format!("tunnel {}", one.tunnel.name);
    let subject = subject.as_str();
    let (a, b) = (one.tunnel, other.tunnel);
    let mut same = |id, key, left: &dyn Display, right: &dyn Display| {
        found.same(id, subject, one.says(key, left), other.says(key, right));
    };
    same(
        "encapsulation",
        "encapsulation",
        &encapsulation(a),
        &encapsulation(b),
    );
    same("sublayer", "sublayer", &sublayer(a), &sublayer(b));
    let ports = (a.encapsulation, b.encapsulation);
    if let (Encapsulation::Udp { .. }, Encapsulation::Udp { .. }) = ports {
        let word = |flow| if flow { "\"flow\"" } else { "\"fixed\"" };
        let words = (word(a.form.flow_ports), word(b.form.flow_ports));
        same("source-port", "source_port", &words.0, &words.1);
        // IPv4 is never summed by UDP here.
        if a.remote.is_ipv6() {
            let sums = (a.form.udp_checksum, b.form.udp_checksum);
            same("udp-checksum", "udp_checksum", &sums.0, &sums.1);
        }
    }
    let word = |copy| if copy { "\"copy\"" } else { "\"none\"" };
    same("ecn", "ecn", &word(a.form.ecn), &word(b.form.ecn));
    for (one, other) in [(one, other), (other, one)] {
        towards(found, one, other);
    }
    mtu(found, one, other);
}

fn encapsulation(tunnel: &Tunnel) -> &'static str {
    match tunnel.encapsulation {
        Encapsulation::Udp { .. } => "\"udp\"",
        Encapsulation::Ip => "\"ip\"",
    }
}

fn sublayer(tunnel: &Tunnel) -> &'static str {
    match tunnel.sublayer {
        Sublayer::None => "\"none\"",
        Sublayer::Default => "\"default\"",
    }
}

/// What `receiver` takes must be what `sender` sends.
fn towards(found: &mut Misfits, sender: &End<'_>, receiver: &End<'_>) {
    let subject = format!("from {} to {}", sender.file.name(), receiver.file.name());
    let (sends, takes) = (sender.tunnel, receiver.tunnel);
    found.same(
        "session-id",
        &subject,
        sender.says("peer_session_id", sends.peer_session_id),
        receiver.says("session_id", takes.session_id),
    );
    if let (Encapsulation::Udp { remote_port, .. }, Encapsulation::Udp { local_port, .. }) =
        (sends.encapsulation, takes.encapsulation)
    {
        found.same(
            "port",
            &subject,
            sender.says("remote_port", remote_port),
            receiver.says("local_port", local_port),
        );
    }
    if takes.form.receive_sequence && !sends.form.send_sequence {
        let word = match sends.form.receive_sequence {
            true => "both",
            false => "send",
        };
        let what = format!(
            "{subject}: packets are not numbered, but {} refuses such",
            receiver.file.name()
        );
        let remedy = format!(
            "write `sequence = \"{word}\"` in {}, or remove `sequence` in {}",
            sender.file.path().display(),
            receiver.file.path().display(),
        );
        let places = [sender, receiver].map(|end| end.file.spot(&[end.key("sequence")]));
        found.add("sequence", places, what, remedy);
    }
    cookie(found, &subject, sender, receiver);
}

/// What is wrong with the cookies of one direction. They are compared, and never shown.
fn cookie(found: &mut Misfits, subject: &str, sender: &End<'_>, receiver: &End<'_>) {
    let (send, receive) = ("send_cookie_file", "receive_cookie_file");
    let (former_sent, former) = ("send_cookie_previous_file", "receive_cookie_previous_file");
    let (sent_by, taken_by) = (sender.file, receiver.file);
    let written = (
        sent_by.has(&sender.key(send)),
        taken_by.has(&receiver.key(receive)),
    );
    let (sender_path, receiver_path) = (sent_by.path().display(), taken_by.path().display());
    let (what, remedy) = match written {
        (false, false) => return,
        (true, false) => (
            format!("a cookie is sent, but {} expects none", taken_by.name()),
            format!(
                "write `{receive} = \"FILE\"` in {receiver_path}, with a copy of that cookie, or remove `{send}` in \
                 {sender_path}"
            ),
        ),
        (false, true) => (
            format!("no cookie is sent, but {} expects one", taken_by.name()),
            format!(
                "write `{send} = \"FILE\"` in {sender_path}, with a copy of that cookie, or remove `{receive}` in \
                 {receiver_path}"
            ),
        ),
        (true, true) => {
            let readable = |end: &End<'_>, key| end.file.is_read(&end.key(key));
            if !readable(sender, send) || !readable(receiver, receive) {
                return;
            }
            let sent = &sender.tunnel.send_cookie;
            // While they are rotated, the former one is sent until the peer accepts the present one.
            let mut all_sent =
                [Some(sent), sender.tunnel.previous_send_cookie.as_ref()].into_iter();
            let taken = [
                Some(&receiver.tunnel.receive_cookie),
                receiver.tunnel.previous_cookie.as_ref(),
            ];
            let fits = all_sent.any(|sent| sent.is_some() && taken.contains(&sent));
            // It could be one that is not here.
            let is_hidden = |end: &End<'_>, key| end.file.has(&end.key(key)) && !readable(end, key);
            if fits || is_hidden(receiver, former) || is_hidden(sender, former_sent) {
                return;
            }
            let sizes = sizes(sent, &receiver.tunnel.receive_cookie);
            (
                format!("the cookie that is sent is not the one that is expected{sizes}"),
                format!(
                    "copy the file that `{send}` names in {sender_path} over the one that `{receive}` names in \
                     {receiver_path}"
                ),
            )
        }
    };
    let places = [
        sent_by.spot(&[sender.key(send)]),
        taken_by.spot(&[receiver.key(receive)]),
    ];
    found.add("cookie", places, format!("{subject}: {what}"), remedy);
}

/// The lengths, where they differ.
fn sizes(sent: &Cookie, expected: &Cookie) -> String {
    match (sent.size(), expected.size()) {
        (sent, expected) if sent == expected => String::new(),
        (sent, expected) => format!(": {sent} bytes, but {expected} are"),
    }
}

/// OSPF compares the MTU of both ends (RFC 5340 section 4.2.2), and a frame that is larger than the receiver's is lost.
fn mtu(found: &mut Misfits, one: &End<'_>, other: &End<'_>) {
    let (written, bare) = match (one.tunnel.mtu, other.tunnel.mtu) {
        (None, None) => return,
        (Some(left), Some(right)) => {
            let subject = format!("tunnel {}", one.tunnel.name);
            let (left, right) = (one.says("mtu", left), other.says("mtu", right));
            return found.same("mtu", &subject, left, right);
        }
        (Some(_), None) => (one, other),
        (None, Some(_)) => (other, one),
    };
    let mtu = written.tunnel.mtu.unwrap_or_default();
    // Over the usual underlay both come to the same.
    if mtu == bare.tunnel.mtu_for(USUAL_MTU) {
        return;
    }
    let underlay = u32::from(mtu) + u32::from(bare.tunnel.overhead());
    let what = format!(
        "tunnel {}: `mtu = {mtu}` at {}, but {} has what its underlay leaves, which is the same only over an MTU of \
         {underlay}",
        written.tunnel.name,
        written.file.name(),
        bare.file.name(),
    );
    let remedy = format!(
        "write `mtu = {mtu}` in {}, or remove it in {}",
        bare.file.path().display(),
        written.file.path().display(),
    );
    let places = [written, bare].map(|end| end.file.spot(&[end.key("mtu")]));
    found.add("mtu", places, what, remedy);
}
