//! What the interface does with packets before l2ha sees them, and after.

use config::AttachMode;

use crate::{
    facts::{Facts, Interface},
    finding::{Finding, Severity},
};

/// An offload that should be on or off.
struct Rule {
    /// The finding's name.
    id: &'static str,
    /// The feature's name in the kernel.
    feature: &'static str,
    /// What `ethtool -K` calls it.
    switch: &'static str,
    /// What it should be.
    wanted: bool,
    severity: Severity,
    /// Where it matters.
    applies: fn(&Facts, &Interface) -> bool,
    text: &'static str,
    /// What to do where it cannot be switched.
    fixed: Option<&'static str>,
}

/// What `udp_gro_receive` (net/ipv4/udp_offload.c) does to outer packets; those without a checksum
/// it leaves alone.
const JOINED: &str = "joins UDP packets that have a checksum, as over IPv6: packets of a tunnel that \
                      follow each other closely arrive at tc as one and are dropped, counted as \
                      decap_failed";

const RULES: &[Rule] = &[
    Rule {
        id: "lro",
        feature: "rx-lro",
        switch: "lro",
        wanted: false,
        severity: Severity::Warning,
        applies: |_, _| true,
        text: "joins TCP packets so that they cannot be taken apart again: drivers refuse native \
               XDP with it, and packets that are passed on are damaged",
        fixed: Some("switch it off where the NIC is configured: at the hypervisor or in firmware"),
    },
    Rule {
        id: "gro-hw",
        feature: "rx-gro-hw",
        switch: "rx-gro-hw",
        wanted: false,
        // virtio_net switches it off by itself while it has a program, if it can.
        severity: Severity::Note,
        applies: |facts, _| facts.wants_xdp() && !facts.has_our_xdp(),
        text: "joins packets in the NIC; native XDP cannot be had at the same time",
        fixed: Some(
            "switch it off at the hypervisor (QEMU: guest_tso4=off,guest_tso6=off,guest_ecn=off,\
             guest_ufo=off)",
        ),
    },
    Rule {
        id: "udp-gro-forwarding",
        feature: "rx-udp-gro-forwarding",
        switch: "rx-udp-gro-forwarding",
        wanted: false,
        severity: Severity::Warning,
        applies: |facts, _| reaches_tc(facts),
        text: JOINED,
        fixed: None,
    },
    Rule {
        id: "gro-list",
        feature: "rx-gro-list",
        switch: "rx-gro-list",
        wanted: false,
        severity: Severity::Warning,
        applies: |facts, _| reaches_tc(facts),
        text: JOINED,
        fixed: None,
    },
    Rule {
        id: "gro-off",
        feature: "rx-gro",
        switch: "gro",
        wanted: true,
        severity: Severity::Warning,
        applies: |facts, interface| facts.wants_xdp() && !is_veth(interface),
        text: "would join the tunnels' TCP packets behind the XDP program: without it the kernel's \
               stack handles each of them",
        fixed: None,
    },
    Rule {
        id: "tx-checksum-off",
        feature: "tx-checksum-ip-generic",
        switch: "tx",
        wanted: true,
        severity: Severity::Warning,
        applies: |_, interface| !is_veth(interface),
        text: "would leave checksums to the NIC: without it the processor sums every byte that is \
               sent",
        fixed: None,
    },
    Rule {
        id: "sg-off",
        feature: "tx-scatter-gather",
        switch: "sg",
        wanted: true,
        severity: Severity::Warning,
        applies: |_, interface| !is_veth(interface),
        text: "would let the NIC collect a packet from several places in memory: without it large \
               packets are copied before they are sent",
        fixed: None,
    },
    Rule {
        id: "tunnel-segmentation-off",
        feature: "tx-udp_tnl-segmentation",
        switch: "tx-udp_tnl-segmentation",
        wanted: true,
        severity: Severity::Note,
        applies: |_, interface| !is_veth(interface),
        text: "would let the NIC cut a tunnel's large TCP packets: without it the kernel cuts them",
        fixed: None,
    },
];

/// Whether the outer packets go through GRO before l2ha sees them, or may do so.
fn reaches_tc(facts: &Facts) -> bool {
    facts.mode != AttachMode::Xdp && !facts.has_our_xdp()
}

fn is_veth(interface: &Interface) -> bool {
    interface.driver.as_deref() == Some("veth")
}

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(interface) = &facts.interface else {
        return Vec::new();
    };
    let rules = RULES.iter().filter(|rule| (rule.applies)(facts, interface));
    let mut findings: Vec<Finding> = rules
        .filter_map(|rule| apply(rule, &facts.name, interface))
        .collect();
    findings.extend(partial_checksums(facts, interface));
    findings
}

fn apply(rule: &Rule, name: &str, interface: &Interface) -> Option<Finding> {
    let feature = interface.features.get(rule.feature)?;
    if feature.on == rule.wanted {
        return None;
    }
    let state = if feature.on { "on" } else { "off" };
    let text = format!("{} of {name} is {state}: it {}", rule.switch, rule.text);
    if feature.changeable {
        let wanted = if rule.wanted { "on" } else { "off" };
        let command = format!("ethtool -K {name} {} {wanted}", rule.switch);
        return Some(Finding::new(rule.severity, rule.id, text).command(command));
    }
    // What cannot be switched and has no other cure is not worth a word; what has one stays.
    let fixed = rule.fixed?;
    let severity = rule.severity.max(Severity::Warning);
    Some(Finding::new(severity, rule.id, text).remedy(fixed))
}

/// A veth's other end that leaves checksums to a NIC that will never come.
fn partial_checksums(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let peer = interface.peer.as_ref().filter(|_| is_veth(interface))?;
    let checksum = peer.features.get("tx-checksum-ip-generic")?;
    (facts.wants_xdp() && checksum.on && checksum.changeable).then(|| {
        Finding::new(
            Severity::Warning,
            "partial-checksums",
            format!(
                "{} sends packets to {} whose checksums nobody has filled in; behind native XDP \
                 nobody does, so TCP and UDP of a sender on this machine are lost",
                peer.name, facts.name
            ),
        )
        .command(peer.command(&format!("ethtool -K {} tx off", peer.name)))
    })
}
