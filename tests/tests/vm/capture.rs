//! `l2ha monitor` and `l2ha capture` on Debian's own kernel, the oldest that l2ha runs on: its
//! verifier takes the programs, and they show refused, received and sent packets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use l2ha_lab::{Cloud, Host, Lab, vm::Vm, wait_for};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

const PORT: u16 = 1701;
const PATIENCE: Duration = Duration::from_secs(60);
const COOKIE: [u8; 8] = [0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8];

pub(crate) fn packets_are_seen(lab: &Lab, cloud: &Arc<Cloud>, vm: &Arc<Vm>) -> Result<()> {
    let peer = lab.host(cloud, "peer")?;
    for mode in ["auto", "tc"] {
        see(lab, vm, &peer, mode).with_context(|| format!("mode {mode}"))?;
    }
    Ok(())
}

fn see(lab: &Lab, vm: &Arc<Vm>, peer: &Host, mode: &str) -> Result<()> {
    let (local, remote) = (vm.v4, peer.v4);
    vm.write(
        "/tmp/l2ha.toml",
        &format!(
            "[node]\nname = \"vm\"\n\n\
             [underlay]\ninterface = \"eth0\"\naddresses = [\"{local}\"]\nmode = \"{mode}\"\n\n\
             [[tunnels]]\nname = \"peer\"\nremote = \"{remote}\"\n\
             session_id = 7\npeer_session_id = 8\n\
             receive_cookie_file = \"/tmp/receive\"\nsend_cookie_file = \"/tmp/send\"\n\
             addresses = [\"10.8.3.1/24\"]\n"
        ),
    )?;
    vm.run(
        "mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf\n\
         umask 077; echo a1a2a3a4a5a6a7a8 >/tmp/receive; echo b1b2b3b4b5b6b7b8 >/tmp/send\n\
         l2ha run --config /tmp/l2ha.toml >/tmp/l2ha.log 2>&1 &\n\
         echo $! >/tmp/pid",
    )?;
    let up = wait_for("the daemon", PATIENCE, || {
        let (_, text) = vm.try_run("l2ha sessions --json", PATIENCE)?;
        let log = vm.run("cat /tmp/l2ha.log")?;
        let sessions: Value =
            serde_json::from_str(&text).with_context(|| format!("{text}{log}"))?;
        Ok((sessions[0]["state"] == "up").then_some(sessions))
    })?;
    lab.say(format_args!("{mode}: {}", up[0]));

    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    frame.extend([0x5a; 50]);
    let refused = shown(vm, "monitor --json --count 1", || {
        send(peer, vm, 99, &frame)
    })?;
    let refused: Value = serde_json::from_str(&refused).context(refused.clone())?;
    ensure!(refused["reason"] == "unknown_session", "{refused}");
    ensure!(refused["session_id"] == 99, "{refused}");
    ensure!(
        refused["source"] == remote.to_string().as_str(),
        "{refused}"
    );
    lab.say(format_args!("{mode}: {refused}"));

    let received = shown(vm, "capture --side outer --direction rx --count 1", || {
        send(peer, vm, 7, &frame)
    })?;
    let wanted = "\u{0}\u{0}\u{0}\u{7}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}";
    let hex: String = wanted
        .bytes()
        .chain(frame.iter().copied())
        .map(byte)
        .collect();
    ensure!(received.contains(&hex), "{received}, without {hex}");
    ensure!(!received.contains("a1a2a3a4"), "{received}");

    let ping = "ping -c 1 -W 1 10.8.3.2";
    let sent = shown(vm, "capture --direction tx --count 1", || {
        vm.try_run(ping, PATIENCE).map(drop)
    })?;
    // An ARP request, or what IPv6 says on a new link.
    ensure!(sent.contains("0806") || sent.contains("86dd"), "{sent}");
    vm.run("pid=$(cat /tmp/pid); kill $pid; while [ -e /proc/$pid ]; do sleep 0.1; done")?;
    Ok(())
}

/// What a command says that ends by itself while something is done again and again; a capture in
/// hexadecimal.
fn shown(vm: &Vm, words: &str, act: impl Fn() -> Result<()>) -> Result<String> {
    vm.run(&format!(
        "rm -f /tmp/status; (l2ha {words} >/tmp/out 2>/tmp/err; echo $? >/tmp/status) >/dev/null 2>&1 &"
    ))?;
    let status = wait_for(words, PATIENCE, || {
        act()?;
        let text = vm.run("cat /tmp/status 2>/dev/null || true")?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    })?;
    let errors = vm.run("cat /tmp/err")?;
    ensure!(status.trim() == "0", "l2ha {words}: {errors}");
    if !words.starts_with("capture") {
        return vm.run("cat /tmp/out");
    }
    ensure!(errors.contains("1 packets captured"), "{errors}");
    let dump = vm.run("od -v -An -tx1 /tmp/out")?;
    Ok(dump.split_whitespace().collect())
}

/// Sends a message with the right cookie.
fn send(peer: &Host, vm: &Vm, session_id: u32, frame: &[u8]) -> Result<()> {
    let socket = peer
        .ns
        .enter(|| Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)))??;
    socket.bind(&SocketAddr::from((peer.v4, PORT)).into())?;
    socket.connect(&SocketAddr::from((vm.v4, PORT)).into())?;
    let id = session_id.to_be_bytes();
    socket.send(&[&[0, 3, 0, 0], &id[..], &COOKIE, frame].concat())?;
    Ok(())
}

fn byte(byte: u8) -> String {
    format!("{byte:02x}")
}
