//! Native XDP: what a driver wants before it takes a program, and how many queues share the work.

use config::AttachMode;
use dataplane::inspect::Trial;

use crate::{
    facts::{Facts, Interface},
    finding::{Finding, Severity},
};

/// Bytes that native XDP keeps free in front of a frame (`XDP_PACKET_HEADROOM`), those that
/// `struct skb_shared_info` takes behind it, and an Ethernet header.
const HEADROOM: u32 = 256;
const SHARED_INFO: u32 = 320;
const ETHERNET: u32 = 14;
/// Trailer and tag that ena leaves room for.
const ENA_EXTRA: u32 = 8;
/// gve's buffer, and what it leaves free in it.
const GVE_BUFFER: u32 = 2048;
const GVE_PAD: u32 = 2;

/// The largest MTU of an interface with native XDP, in bytes, where the driver is known:
/// `veth_xdp_set`, `virtnet_xdp_set`, `netvsc_xdp_set`, `MANA_XDP_MTU_MAX`, `ENA_XDP_MAX_MTU` and
/// `gve_verify_xdp_configuration`.
fn largest_mtu(driver: &str, page: u32) -> Option<u32> {
    let one_page = page.checked_sub(HEADROOM + SHARED_INFO + ETHERNET)?;
    match driver {
        "veth" | "virtio_net" | "hv_netvsc" | "mana" => Some(one_page),
        "ena" => Some(one_page - ENA_EXTRA),
        "gve" => Some(GVE_BUFFER - ETHERNET - GVE_PAD),
        _ => None,
    }
}

pub(crate) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(interface) = &facts.interface else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if facts.wants_xdp() && !facts.has_our_xdp() {
        findings.extend(mtu(facts, interface));
        findings.extend(queues(facts, interface));
        findings = refused(facts, interface, findings);
    }
    findings.extend(few_queues(facts, interface));
    findings.extend(spare_queues(facts, interface));
    findings
}

/// How bad it is that native XDP cannot be had.
fn severity(facts: &Facts) -> Severity {
    match facts.mode {
        AttachMode::Xdp => Severity::Error,
        AttachMode::Auto | AttachMode::Tc => Severity::Warning,
    }
}

/// What happens then.
fn otherwise(facts: &Facts) -> &'static str {
    match facts.mode {
        AttachMode::Xdp => "l2ha cannot start with mode = \"xdp\"",
        AttachMode::Auto | AttachMode::Tc => {
            "l2ha uses tc instead, which costs more for each packet"
        }
    }
}

fn mtu(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let name = &facts.name;
    let driver = interface.driver.as_deref()?;
    let most = largest_mtu(driver, facts.system.page)?;
    let mut commands = Vec::new();
    if interface.mtu > most {
        commands.push(format!("ip link set dev {name} mtu {most}"));
    }
    let mut whose = format!("{name}'s MTU of {}", interface.mtu);
    if let Some(peer) = interface.peer.as_ref().filter(|peer| peer.mtu > most) {
        // A veth's own MTU does not matter to it, its peer's does; but both should be the same.
        whose = format!(
            "the MTU of {} of {name}'s other end {}",
            peer.mtu, peer.name
        );
        commands.push(peer.command(&format!("ip link set dev {} mtu {most}", peer.name)));
    } else if driver == "veth" && interface.peer.is_some() {
        return None;
    }
    if commands.is_empty() {
        return None;
    }
    let finding = Finding::new(
        severity(facts),
        "xdp-mtu",
        format!(
            "{driver} has native XDP up to an MTU of {most}, and {whose} is larger: {}",
            otherwise(facts)
        ),
    );
    Some(if driver == "veth" && interface.peer.is_none() {
        finding.remedy(format!("set the MTU of both ends of {name} to {most}"))
    } else {
        finding.command(commands.join(" && "))
    })
}

fn queues(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let name = &facts.name;
    let channels = interface.channels?;
    let finding = |text: String| {
        Finding::new(
            severity(facts),
            "xdp-queues",
            format!("{text}: {}", otherwise(facts)),
        )
    };
    match interface.driver.as_deref()? {
        "veth" => {
            let peer = interface.peer.as_ref()?;
            let sending = peer.channels?.sending();
            let receiving = channels.receiving();
            if receiving >= sending {
                return None;
            }
            let finding = finding(format!(
                "a veth has native XDP only with as many receiving queues as its other end has \
                 sending ones, and {name} has {receiving} where {} has {sending}",
                peer.name
            ));
            Some(finding.command(if channels.max_rx >= sending {
                format!("ethtool -L {name} rx {sending}")
            } else {
                peer.command(&format!("ethtool -L {} tx {receiving}", peer.name))
            }))
        }
        "ena" => {
            let half = (channels.max_combined / 2).max(1);
            (channels.combined > half).then(|| {
                finding(format!(
                    "ena wants a second set of sending queues for native XDP, and {name} uses {} of \
                     {} queues",
                    channels.combined, channels.max_combined
                ))
                .command(format!("ethtool -L {name} combined {half}"))
            })
        }
        "gve" => {
            let half = (channels.max_rx.min(channels.max_tx) / 2).max(1);
            let fits = channels.rx == channels.tx && channels.rx <= half;
            (!fits).then(|| {
                let queues = channels.rx.min(channels.tx).min(half);
                finding(format!(
                    "gve wants as many receiving as sending queues for native XDP and no more than \
                     half of those it can have, and {name} has {} and {} of {}",
                    channels.rx, channels.tx, channels.max_rx
                ))
                .command(format!("ethtool -L {name} rx {queues} tx {queues}"))
            })
        }
        _ => None,
    }
}

/// What the driver itself says: beside what was found, or alone.
fn refused(facts: &Facts, interface: &Interface, mut found: Vec<Finding>) -> Vec<Finding> {
    let name = &facts.name;
    let driver = interface.driver.as_deref().unwrap_or("the driver");
    let use_tc = "write mode = \"tc\" in [underlay], and this is not tried again";
    if let Some(Trial::Refused(words)) = &interface.trial {
        // It names the first obstacle only.
        if let Some(finding) = found.first_mut() {
            finding
                .text
                .push_str(&format!("; the kernel says: {words}"));
        }
        if found.is_empty() {
            found.push(
                Finding::new(
                    severity(facts),
                    "xdp-refused",
                    format!(
                        "{driver} refuses native XDP on {name}, saying: {words}: {}",
                        otherwise(facts)
                    ),
                )
                .remedy(use_tc),
            );
        }
    } else if found.is_empty() && interface.native == Some(false) && interface.trial.is_none() {
        let bad = match facts.mode {
            AttachMode::Xdp => Severity::Error,
            AttachMode::Auto | AttachMode::Tc => Severity::Note,
        };
        found.push(
            Finding::new(
                bad,
                "xdp-missing",
                format!(
                    "{driver} has no native XDP for {name} as it is set up: {}",
                    otherwise(facts)
                ),
            )
            .remedy(use_tc),
        );
    }
    found
}

/// One processor does all the work of the others.
fn few_queues(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let name = &facts.name;
    let channels = interface.channels?;
    // Queues of a veth follow the sender's processors, and its number its other end's.
    let driver = interface.driver.as_deref().filter(|it| *it != "veth")?;
    let most = match driver {
        "ena" if facts.wants_xdp() => channels.max_combined / 2,
        _ => channels.max_combined,
    };
    let wanted = facts.system.processors.min(most);
    (channels.combined > 0 && channels.combined < wanted).then(|| {
        Finding::new(
            Severity::Warning,
            "few-queues",
            format!(
                "{name} receives on {} of {} possible queues, so {} of {} processors do all the work",
                channels.combined, most, channels.combined, facts.system.processors
            ),
        )
        .command(format!("ethtool -L {name} combined {wanted}"))
    })
}

/// virtio_net has queues of its own for what XDP sends, if there are any left.
fn spare_queues(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let channels = interface.channels?;
    let processors = facts.system.processors;
    let spare = channels.max_combined.saturating_sub(channels.combined);
    let is_virtio = interface.driver.as_deref() == Some("virtio_net");
    (is_virtio && facts.wants_xdp() && !facts.has_our_xdp() && spare < processors).then(|| {
        Finding::new(
            Severity::Note,
            "xdp-spare-queues",
            format!(
                "{} has {spare} spare queues, fewer than processors ({processors}): what an XDP \
                 program sends there takes turns; l2ha's program only receives",
                facts.name
            ),
        )
        .remedy("nothing has to be done for l2ha")
    })
}
