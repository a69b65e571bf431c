//! What comes out of a tunnel changes no routes, addresses or settings of the host by itself.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{Lab, PATIENCE, Pair, wait_for};
use socket2::{Domain, Protocol, Socket, Type};

/// A Router Advertisement (RFC 4861 4.2): of a router for 30 minutes, with a prefix for addresses and with an MTU.
/// The kernel fills in the checksum.
const ADVERTISEMENT: [u8; 56] = {
    let mut bytes = [0; 56];
    bytes[0] = 134;
    bytes[4] = 64;
    bytes[6] = 1800_u16.to_be_bytes()[0];
    bytes[7] = 1800_u16.to_be_bytes()[1];
    // Prefix Information (4.6.2): 2001:db8:bad::/64, on the link and for addresses, for an hour.
    bytes[16] = 3;
    bytes[17] = 4;
    bytes[18] = 64;
    bytes[19] = 0xc0;
    (bytes[22], bytes[23]) = (0x0e, 0x10);
    (bytes[26], bytes[27]) = (0x0e, 0x10);
    (bytes[32], bytes[33], bytes[34], bytes[35]) = (0x20, 0x01, 0x0d, 0xb8);
    (bytes[36], bytes[37]) = (0x0b, 0xad);
    // MTU (4.6.4): 1280.
    bytes[48] = 5;
    bytes[49] = 1;
    (bytes[54], bytes[55]) = (0x05, 0x00);
    bytes
};

/// Sends it into an interface.
fn advertise(interface: u32) -> Result<()> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.set_multicast_if_v6(interface)?;
    socket.set_multicast_hops_v6(255)?;
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let to = SocketAddrV6::new(all_nodes, 0, 0, interface);
    socket.send_to(&ADVERTISEMENT, &to.into())?;
    Ok(())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_router_advertisement_out_of_a_tunnel_changes_nothing() -> Result<()> {
    Lab::run("takes-nothing", |lab| {
        let pair = Pair::start(lab, "tc")?;
        let (host, router) = (&pair.hosts[0].ns, &pair.hosts[1].ns);
        let tunnel = pair.sender.config().tunnels[0].interface.clone();
        let back = &pair.receiver.config().tunnels[0].interface;
        let out = router.ifindex(back)?.context("the other end")?;
        let state = || -> Result<String> {
            let of = |words: &[&str]| host.run(words.iter().copied());
            let conf = format!("net/ipv6/conf/{tunnel}");
            Ok([
                of(&["ip", "-6", "route", "show", "table", "all"])?,
                of(&["ip", "-6", "-o", "address", "show"])?,
                host.read_sysctl(&format!("{conf}/mtu"))?,
                host.read_sysctl(&format!("{conf}/hop_limit"))?,
            ]
            .concat())
        };
        // The lifetimes of the gateway's own routes do not count.
        let before = state()?;
        for _ in 0..3 {
            router.enter(|| advertise(out))??;
            thread::sleep(Duration::from_millis(300));
        }
        let after = state()?;
        ensure!(before == after, "{before}\nbecame\n{after}");
        ensure!(!after.contains("2001:db8:bad"), "{after}");

        // Somebody else switches it on: it is switched off again.
        let conf = format!("net/ipv6/conf/{tunnel}/accept_ra");
        host.sysctl(&conf, "1")?;
        wait_for("accept_ra to be off", PATIENCE, || {
            Ok((host.read_sysctl(&conf)?.trim() == "0").then_some(()))
        })?;
        let repaired = pair.sender.status()?["repairs"]["setting"].as_u64();
        ensure!(repaired == Some(1), "{repaired:?}");
        Ok(())
    })
}
