//! A second opinion on our packets: Wireshark's dissectors, with every checksum checked.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

/// Whatever makes a packet suspect, as a display filter. A TCP checksum of 0 Linux writes as 0xffff
/// (`CSUM_MANGLED_0` in skb_checksum_help): equal in its arithmetic, and yet a fault to Wireshark.
const SUSPECT: &str = "_ws.malformed || _ws.short || ip.checksum.status == 0 \
    || udp.checksum.status == 0 || icmpv6.checksum.status == 0 \
    || (tcp.checksum.status == 0 && !(tcp.checksum == 0xffff)) \
    || icmp.checksum.status == 0 || _ws.expert.group == \"Malformed\" \
    || (_ws.expert.group == \"Checksum\" && !(tcp.checksum == 0xffff)) || _ws.expert.group == \"Undecoded\"";

/// How the L2TPv3 data messages of a capture look; the wire does not say it.
#[derive(Debug, Clone, Copy)]
pub struct Framing {
    /// Length of the cookie in bytes: 0, 4 or 8.
    pub cookie: usize,
    /// Whether the default L2-specific sublayer is there.
    pub sublayer: bool,
    /// The UDP port of the tunnels.
    pub port: u16,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            cookie: 8,
            sublayer: false,
            port: 1701,
        }
    }
}

/// What a capture holds.
#[derive(Debug, Default)]
pub struct Dissection {
    /// Frames altogether.
    pub frames: usize,
    /// Frames in which a protocol occurs, by Wireshark's name of it.
    pub protocols: BTreeMap<String, usize>,
    /// Frames by their whole stack of protocols.
    pub stacks: BTreeMap<String, usize>,
    /// OSPF packets, other than those that an ICMP error quotes.
    pub ospf: usize,
    /// Those of them whose checksum is right.
    pub ospf_checked: usize,
}

impl Dissection {
    /// Frames in which a protocol occurs.
    pub fn count(&self, protocol: &str) -> usize {
        self.protocols.get(protocol).copied().unwrap_or(0)
    }

    /// Counts a frame by its stack of protocols, and returns whether it is an OSPF packet.
    fn count_frame(&mut self, stack: &str) -> Result<bool> {
        self.frames += 1;
        *self.stacks.entry(stack.to_owned()).or_default() += 1;
        let mut seen: Vec<_> = stack.split(':').collect();
        let is_ospf = seen.contains(&"ospf") && !seen.iter().any(|name| name.starts_with("icmp"));
        if is_ospf {
            self.ospf += 1;
        }
        seen.sort_unstable();
        seen.dedup();
        for protocol in seen {
            *self.protocols.entry(protocol.to_owned()).or_default() += 1;
        }
        if let Some((_, inner)) = stack.split_once(":l2tp") {
            // What an echo request carries is of no protocol.
            let inner = inner.strip_suffix(":icmpv6:data").unwrap_or(inner);
            ensure!(
                inner.starts_with(":ethertype:") && !inner.split(':').any(|name| name == "data"),
                "an L2TPv3 message is not understood: {stack}"
            );
        }
        Ok(is_ospf)
    }
}

/// Dissects a capture and insists that there is nothing wrong in it: nothing malformed, no bad
/// checksum inside or outside, and in every L2TPv3 data message an Ethernet frame that Wireshark
/// understands.
///
/// # Errors
///
/// With the first suspect packets, or when tshark is not installed.
pub fn check(file: &Path, framing: Framing, filter: &str) -> Result<Dissection> {
    let suspects = run(file, framing, &["-Y", &both(filter, SUSPECT)])?;
    ensure!(
        suspects.is_empty(),
        "tshark finds fault with {} packets of {}, the first:\n{}",
        suspects.lines().count(),
        file.display(),
        first_lines(&suspects)
    );

    // Of OSPF, this Wireshark checks the checksum but gives the verdict only in its text.
    let mut words = vec!["-O", "frame,ospf"];
    if !filter.is_empty() {
        words.extend(["-Y", filter]);
    }
    let mut found = Dissection::default();
    let mut is_ospf = false;
    let mut bad = Vec::new();
    for line in run(file, framing, &words)?.lines().map(str::trim) {
        if let Some(stack) = between(line, "[Protocols in frame: ", "]") {
            is_ospf = found
                .count_frame(stack)
                .with_context(|| file.display().to_string())?;
        } else if is_ospf && line.starts_with("Checksum: 0x") {
            if line.ends_with("[correct]") {
                found.ospf_checked += 1;
            } else if line.contains("incorrect") {
                bad.push(line.to_owned());
            }
        }
    }
    ensure!(
        bad.is_empty(),
        "{}: {} OSPF packets with a bad checksum: {}",
        file.display(),
        bad.len(),
        bad[0]
    );
    ensure!(
        found.ospf_checked == found.ospf,
        "{} of {} OSPF packets were checked",
        found.ospf_checked,
        found.ospf
    );
    Ok(found)
}

fn between<'a>(line: &'a str, start: &str, end: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix(end)
}

fn both(filter: &str, and: &str) -> String {
    if filter.is_empty() {
        and.to_owned()
    } else {
        format!("({filter}) && ({and})")
    }
}

fn first_lines(text: &str) -> String {
    text.lines().take(10).collect::<Vec<_>>().join("\n")
}

/// Runs tshark with every checksum checked and L2TPv3 taken for what it is.
fn run(file: &Path, framing: Framing, arguments: &[&str]) -> Result<String> {
    let cookie = match framing.cookie {
        0 => "None",
        4 => "4 Byte Cookie",
        _ => "8 Byte Cookie",
    };
    let sublayer = if framing.sublayer {
        "Default L2-Specific"
    } else {
        "None"
    };
    let mut command = Command::new("tshark");
    command.arg("-n").arg("-r").arg(file);
    for preference in [
        "ip.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        // Frames end where their payload ends; guessing an FCS makes trailers out of nothing.
        "eth.fcs:Never",
        &format!("l2tp.cookie_size:{cookie}"),
        &format!("l2tp.l2_specific:{sublayer}"),
    ] {
        command.args(["-o", preference]);
    }
    command
        // Sessions set up without control messages have no known type.
        .args(["-d", "l2tp.pw_type==0,eth"])
        .args(["-d", &format!("udp.port=={},l2tp", framing.port)])
        .args(arguments);
    crate::command::output(&mut command).context("tshark cannot judge the capture")
}
