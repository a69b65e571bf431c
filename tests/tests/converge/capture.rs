//! `l2ha sessions`, `l2ha monitor` and `l2ha capture`, as an operator uses them: two daemons with
//! OSPF between them, captures judged by tshark, refused packets injected, and no byte of a cookie
//! in anything that was shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Framing, Host, Lab, Link, NodeConfig, Outer, PATIENCE, Process, check,
    join, wait_for,
};
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

const PORT: u16 = 1701;
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn packets_are_seen_over_udp() -> Result<()> {
    seen("capture-udp4", Outer::Udp, false, "xdp")
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn packets_are_seen_over_udp_and_ipv6() -> Result<()> {
    seen("capture-udp6", Outer::Udp, true, "tc")
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn packets_are_seen_over_ip() -> Result<()> {
    seen("capture-ip4", Outer::Ip, false, "tc")
}

fn seen(name: &str, outer: Outer, v6: bool, mode: &str) -> Result<()> {
    Lab::run(name, |lab| {
        let world = World::new(lab, outer, v6, mode)?;
        world.sessions(lab)?;
        world.outer_capture(lab)?;
        world.piped_capture(lab)?;
        world.monitor(lab)?;
        world.mistakes()
    })
}

/// Two daemons, and the cookies of the pseudowire between them.
struct World {
    a: Arc<Daemon>,
    hosts: Vec<Arc<Host>>,
    interface: String,
    outer: Outer,
    v6: bool,
    session_id: u32,
    receive: Vec<u8>,
    send: Vec<u8>,
    _b: Arc<Daemon>,
}

impl World {
    fn new(lab: &Lab, outer: Outer, v6: bool, mode: &str) -> Result<Self> {
        let options = CloudOptions {
            carries_l2tp: true,
            ..CloudOptions::default()
        };
        let (_cloud, hosts) = lab.cloud(options, &["a", "b"])?;
        let mut a = NodeConfig::new(lab, &hosts[0])?;
        let mut b = NodeConfig::new(lab, &hosts[1])?;
        a.mode = mode.into();
        b.mode = mode.into();
        let link = Link {
            outer,
            v6,
            ..Link::default()
        };
        join(&mut a, &mut b, link)?;
        let tunnel = a.tunnel("b").clone();
        let cookie = |file: Option<PathBuf>| -> Result<Vec<u8>> {
            unhex(fs::read_to_string(file.context("no cookie")?)?.trim())
        };
        let a = Daemon::start(lab, a)?;
        let b = Daemon::start(lab, b)?;
        wait_for("the adjacency", PATIENCE, || {
            ensure!(!a.full_neighbours()?.is_empty(), "none is Full");
            Ok(Some(()))
        })?;
        Ok(Self {
            a,
            hosts,
            interface: tunnel.interface.clone(),
            outer,
            v6,
            session_id: tunnel.session_id,
            receive: cookie(tunnel.receive_cookie.clone())?,
            send: cookie(tunnel.send_cookie.clone())?,
            _b: b,
        })
    }

    /// Pings all on the pseudowire, without payload: tshark is to understand every byte.
    #[track_caller]
    fn ping(&self) -> Result<()> {
        let words = [
            "ping",
            "-6",
            "-s",
            "0",
            "-c",
            "5",
            "-i",
            "0.2",
            "-I",
            &self.interface,
            "ff02::1",
        ];
        self.hosts[0].ns.run(words).map(drop)
    }

    fn session(&self) -> Result<Value> {
        let text = self.a.l2ha(&["sessions", "--json"])?;
        self.no_cookie(text.as_bytes())?;
        let all: Value = serde_json::from_str(&text)?;
        ensure!(
            all.as_array().map(Vec::len) == Some(1),
            "not one session: {text}"
        );
        Ok(all[0].clone())
    }

    fn sessions(&self, lab: &Lab) -> Result<()> {
        let before = self.session()?;
        self.ping()?;
        let after = self.session()?;
        let kind = if self.outer == Outer::Udp {
            "udp"
        } else {
            "ip"
        };
        ensure!(after["encapsulation"] == kind, "{after}");
        ensure!(
            after["ip_version"] == if self.v6 { 6 } else { 4 },
            "{after}"
        );
        ensure!(after["state"] == "up" && after["name"] == "b", "{after}");
        ensure!(after["session_id"] == self.session_id, "{after}");
        ensure!(after["interface"] == self.interface.as_str(), "{after}");
        ensure!(
            after["receive_cookie_bytes"] == self.receive.len(),
            "{after}"
        );
        ensure!(after["send_cookie_bytes"] == self.send.len(), "{after}");
        for (packets, bytes) in [("rx_packets", "rx_bytes"), ("tx_packets", "tx_bytes")] {
            let grown = |key: &str| {
                let number = |value: &Value| value[key].as_u64().unwrap_or_default();
                number(&after).saturating_sub(number(&before))
            };
            // 5 pings of 62 bytes one way, their answers the other.
            ensure!(
                grown(packets) >= 5 && grown(bytes) >= 5 * 62,
                "{before}, then {after}"
            );
        }
        let text = self.a.l2ha(&["sessions"])?;
        self.no_cookie(text.as_bytes())?;
        ensure!(text.contains(&self.interface), "{text}");
        lab.say(text.trim_end());
        Ok(())
    }

    /// Starts a command of `l2ha` whose output goes to a file.
    fn start(&self, lab: &Lab, words: &[&str], name: &str) -> Result<(Process, PathBuf, PathBuf)> {
        let (said, errors) = (
            lab.dir().join(format!("{name}.out")),
            lab.dir().join(format!("{name}.err")),
        );
        let mut command = self.a.command(words)?;
        command
            .stdout(File::create(&said)?)
            .stderr(File::create(&errors)?);
        let process = self.hosts[0].ns.spawn(command)?;
        Ok((process, said, errors))
    }

    /// Whole outer packets, ended by Ctrl-C, judged by tshark with every checksum.
    fn outer_capture(&self, lab: &Lab) -> Result<()> {
        let file = lab.dir().join("outer.pcapng");
        let path = file.to_str().context("the lab's path is no text")?;
        let words = [
            "capture",
            "--side",
            "outer",
            "--tunnel",
            "b",
            "--snaplen",
            "2000",
            "-w",
            path,
        ];
        let (process, _, errors) = self.start(lab, &words, "outer")?;
        wait_for("the capture's first packets", PATIENCE, || {
            let length = fs::metadata(&file).map_or(0, |found| found.len());
            ensure!(length > 200, "{length} bytes");
            Ok(Some(()))
        })?;
        self.ping()?;
        // Hellos of both sides come once a second.
        thread::sleep(Duration::from_secs(4));
        process.signal(Signal::SIGINT)?;
        let status = process.wait(PATIENCE)?;
        let errors = fs::read_to_string(errors)?;
        ensure!(status.success(), "{status}: {errors}");
        ensure!(errors.contains("packets captured"), "{errors}");
        ensure!(!errors.contains("missing"), "{errors}");
        self.no_cookie(&fs::read(&file)?)?;

        let framing = Framing::default();
        let found = check(&file, framing, "")?;
        ensure!(found.count("l2tp") == found.frames, "{found:?}");
        for direction in [INBOUND, OUTBOUND] {
            let found = check(
                &file,
                framing,
                &format!("frame.packet_flags_direction == {direction}"),
            )?;
            ensure!(found.ospf >= 2, "direction {direction}: {found:?}");
            ensure!(
                found.count("icmpv6") >= 5,
                "direction {direction}: {found:?}"
            );
            lab.say(format_args!(
                "outer, direction {direction}: {} packets, {} of OSPF, {} of ICMPv6",
                found.frames,
                found.ospf,
                found.count("icmpv6")
            ));
        }
        Ok(())
    }

    /// Inner frames through a pipe into tshark, as many as were asked for.
    fn piped_capture(&self, lab: &Lab) -> Result<()> {
        let mut capture = self.a.command(&["capture", "--count", "15"])?;
        capture.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut capture = capture.spawn()?;
        let pipe = capture.stdout.take().context("no pipe")?;
        let tshark = Command::new("tshark")
            .args(["-n", "-r", "-", "-T", "fields"])
            .args([
                "-e",
                "frame.interface_name",
                "-e",
                "frame.packet_flags_direction",
            ])
            .args(["-e", "frame.protocols"])
            .stdin(pipe)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        // So many that the capture comes to its end by itself.
        self.ping()?;
        self.ping()?;
        let tshark = tshark.wait_with_output()?;
        let capture = capture.wait_with_output()?;
        let errors = String::from_utf8_lossy(&capture.stderr);
        ensure!(capture.status.success(), "{errors}");
        ensure!(errors.contains("15 packets captured"), "{errors}");
        let text = String::from_utf8(tshark.stdout)?;
        ensure!(
            tshark.status.success(),
            "{}",
            String::from_utf8_lossy(&tshark.stderr)
        );
        let mut directions: BTreeMap<&str, usize> = BTreeMap::new();
        let mut protocols = BTreeSet::new();
        for line in text.lines() {
            let mut cells = line.split('\t');
            let (name, direction) = (cells.next(), cells.next());
            ensure!(name == Some("b"), "{line}");
            *directions.entry(direction.unwrap_or_default()).or_default() += 1;
            let stack = cells.next().context("no protocols")?;
            ensure!(stack.starts_with("eth:ethertype:ipv6"), "{line}");
            protocols.extend(stack.split(':'));
        }
        ensure!(text.lines().count() == 15, "{text}");
        ensure!(directions.len() == 2, "{directions:?}");
        ensure!(protocols.contains("icmpv6"), "{protocols:?}");
        lab.say(format_args!("piped into tshark: {directions:?}"));
        Ok(())
    }

    /// Sends `a` a message from `b`'s address, outside of `b`'s daemon.
    fn inject(&self, session_id: u32, cookie: &[u8]) -> Result<()> {
        let host = |index: usize| -> IpAddr {
            if self.v6 {
                self.hosts[index].v6.into()
            } else {
                self.hosts[index].v4.into()
            }
        };
        let domain = Domain::for_address(SocketAddr::new(host(0), 0));
        // The daemon of `b` holds the UDP port, so that header is written here as well.
        let protocol = match self.outer {
            Outer::Udp => Protocol::UDP,
            Outer::Ip => Protocol::from(115),
        };
        let socket = self.hosts[1]
            .ns
            .enter(|| Socket::new(domain, Type::RAW, Some(protocol)))??;
        let mut message = session_id.to_be_bytes().to_vec();
        message.extend(cookie);
        message.extend([0x5a; 60]);
        if self.outer == Outer::Udp {
            let length = u16::try_from(8 + 4 + message.len())?;
            let mut udp = Vec::new();
            // Over IPv6 there is a checksum to be right, which the programs leave to the NIC.
            for word in [PORT, PORT, length, u16::from(self.v6), 3, 0] {
                udp.extend(word.to_be_bytes());
            }
            message.splice(0..0, udp);
        }
        socket.bind(&SocketAddr::new(host(1), 0).into())?;
        socket.connect(&SocketAddr::new(host(0), 0).into())?;
        socket.send(&message)?;
        Ok(())
    }

    fn monitor(&self, lab: &Lab) -> Result<()> {
        let mut cookie = self.receive.clone();
        if let Some(last) = cookie.last_mut() {
            *last ^= 1;
        }
        let cases = [
            ("unknown_session", self.session_id + 77, &self.receive),
            ("wrong_cookie", self.session_id, &cookie),
        ];
        for (reason, session_id, cookie) in cases {
            let words = ["monitor", "--json", "--reason", reason, "--count", "1"];
            let packet = self.watched(lab, &words, session_id, cookie)?;
            let packet: Value = serde_json::from_str(packet.trim())?;
            ensure!(packet["reason"] == reason, "{packet}");
            ensure!(packet["session_id"] == session_id, "{packet}");
            ensure!(packet["interface"] == "eth0", "{packet}");
            let source = if self.v6 {
                self.hosts[1].v6.to_string()
            } else {
                self.hosts[1].v4.to_string()
            };
            ensure!(packet["source"] == source.as_str(), "{packet}");
            let port = packet["destination_port"].as_u64();
            let wanted = (self.outer == Outer::Udp).then_some(u64::from(PORT));
            ensure!(port == wanted, "{packet}");
            // What follows the cookie is shown.
            let bytes = packet["bytes"].as_str().unwrap_or_default();
            ensure!(bytes.contains("00000000000000005a5a5a"), "{packet}");
            lab.say(format_args!("monitor: {packet}"));
        }
        // The same for people.
        let text = self.watched(
            lab,
            &["monitor", "--count", "1"],
            self.session_id + 77,
            &self.receive,
        )?;
        ensure!(text.contains(" eth0 unknown_session: "), "{text}");
        lab.say(text.trim_end());
        Ok(())
    }

    /// What a command that ends after one packet says of one that is sent again and again until
    /// then.
    fn watched(&self, lab: &Lab, words: &[&str], session_id: u32, cookie: &[u8]) -> Result<String> {
        let (process, said, errors) = self.start(lab, words, "monitor")?;
        wait_for("the refused packet", PATIENCE, || {
            self.inject(session_id, cookie)?;
            ensure!(!process.is_running(), "it has seen none");
            Ok(Some(()))
        })?;
        let status = process.wait(PATIENCE)?;
        let errors = fs::read_to_string(errors)?;
        ensure!(status.success(), "{status}: {errors}");
        let said = fs::read(&said)?;
        self.no_cookie(&said)?;
        Ok(String::from_utf8(said)?)
    }

    /// What is asked wrongly is answered with what could be asked.
    fn mistakes(&self) -> Result<()> {
        for (words, wanted) in [
            (&["monitor", "--reason", "no_such"][..], "wrong_cookie"),
            (&["capture", "--tunnel", "no-such"], "there are: b"),
        ] {
            let said = match self.a.l2ha(words) {
                Ok(said) => anyhow::bail!("{words:?} is no mistake: {said}"),
                Err(error) => format!("{error:#}"),
            };
            ensure!(said.contains(wanted), "{words:?}: {said}");
        }
        Ok(())
    }

    /// No 4 bytes of a cookie are in what was shown, neither as bytes nor in hexadecimal.
    fn no_cookie(&self, shown: &[u8]) -> Result<()> {
        let text: Vec<u8> = shown
            .iter()
            .copied()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        for cookie in [&self.receive, &self.send] {
            ensure!(cookie.len() == 8, "the lab's cookies have 8 bytes");
            for part in cookie.windows(4) {
                let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
                ensure!(!has(shown, part), "bytes of a cookie were shown");
                ensure!(!has(&text, hex.as_bytes()), "bytes of a cookie were shown");
            }
        }
        Ok(())
    }
}

/// Values of `frame.packet_flags_direction`.
const INBOUND: u8 = 1;
const OUTBOUND: u8 = 2;

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?))
        .collect()
}
