//! A tunnel's veth pair: the visible end, which is the virtual interface, and the hidden one.

use anyhow::{Context as _, Result, bail};
use config::Tunnel;
use linux::{Link, VethPair, sysctl};

use crate::{journal::VethEntry, repair::Kind, snapshot::Snapshot, tools::Tools};

/// The names of a tunnel's veth pair.
pub(crate) fn names(tunnel: &Tunnel) -> VethEntry {
    VethEntry {
        visible: tunnel.interface.clone(),
        hidden: tunnel.hidden.clone(),
    }
}

/// Both ends of a pair, visible and hidden, if they are there and belong together.
pub(crate) fn ends(kernel: &Snapshot, pair: &VethEntry) -> Option<(Link, Link)> {
    let visible = kernel.link(&pair.visible)?;
    let hidden = kernel.link(&pair.hidden)?;
    let joined = visible.veth && hidden.veth && visible.peer == Some(hidden.index);
    joined.then(|| (visible.clone(), hidden.clone()))
}

/// Finds a tunnel's veth pair, or makes it. Returns the visible and the hidden end.
pub(crate) async fn ensure(
    tunnel: &Tunnel,
    (mac, alias): ([u8; 6], &str),
    tools: &mut Tools,
    kernel: &mut Snapshot,
) -> Result<(Link, Link)> {
    let pair = names(tunnel);
    let there = [&pair.visible, &pair.hidden]
        .into_iter()
        .find_map(|name| kernel.link(name));
    if let Some(there) = there {
        if !there.veth || !tools.journal.pairs().contains(&pair) {
            bail!(
                "an interface {} is there already and not l2ha's: remove it, or give this \
                 tunnel another `interface`",
                there.name
            );
        }
        if let Some(ends) = ends(kernel, &pair) {
            return Ok(ends);
        }
        // Half of a pair.
        tools.netlink.delete_link(there.index).await?;
    }
    tools.repairs.found(
        Kind::Interface,
        &tunnel.name,
        &format!("virtual interface {} is missing, making it", pair.visible),
    );
    tools.journal.add(vec![pair.clone()], Vec::new());
    tools
        .netlink
        .add_veth(&VethPair {
            visible: &pair.visible,
            hidden: &pair.hidden,
            mac,
            queues: queues(),
        })
        .await?;
    kernel
        .refresh(&tools.netlink, &[&pair.visible, &pair.hidden])
        .await?;
    let (visible, hidden) = ends(kernel, &pair)
        .with_context(|| format!("{} vanished as soon as it was made", pair.visible))?;
    for end in [&visible, &hidden] {
        tools.netlink.set_alias(end, alias).await?;
        // Without IPv6 there is none to be kept from.
        if let Err(error) = tools.netlink.no_automatic_link_local(end).await {
            tracing::debug!("{error}");
        }
    }
    // What this end sees is not for the kernel. The visible one is looked after in each pass, where a failure is told.
    let _ = sysctl::take_nothing(&hidden);
    Ok((visible, hidden))
}

/// Removes pairs, with the addresses on them.
pub(crate) async fn remove(pairs: &[VethEntry], tools: &mut Tools) -> Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    let kernel = Snapshot::read(&tools.netlink).await?;
    let there = pairs.iter().filter_map(|pair| ends(&kernel, pair));
    let visible: Vec<u32> = there.map(|(visible, _)| visible.index).collect();
    linux::delete_links(&visible)?;
    tools.journal.drop_pairs(pairs);
    Ok(())
}

/// How many queues a virtual interface can have at most: one for each processor. Each costs some kilobytes.
fn queues() -> u32 {
    const MOST: usize = 16;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.min(MOST) as u32
}
