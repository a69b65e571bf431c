//! FRR on a real kernel's own pseudowire, with nothing of ours at its end: neighbours, one
//! database, each other's addresses in both kernels, silence and return.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use l2ha_lab::{
    ANYCAST, Cloud, Daemon, Host, Lab, Link, NodeConfig, OspfLink, RouterConfig, differences,
    router_id,
    vm::{Vm, VmFrr, join_vm},
    wait_for,
};

const PATIENCE: Duration = Duration::from_secs(60);
const HELLO: u16 = 1;
const DEAD: u16 = 4;
/// After the dead interval: the computation, the kernel, and a look every 20 ms.
const MARGIN: Duration = Duration::from_millis(500);
const VM_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);
/// What the machine advertises.
const VM_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x200);

pub(crate) fn over_the_kernels_own_pseudowire(
    lab: &Lab,
    cloud: &Arc<Cloud>,
    vm: &Arc<Vm>,
) -> Result<()> {
    let host = &lab.host(cloud, "frr")?;
    let mut config = NodeConfig::new(lab, host)?;
    let ospf = config.ospf.as_mut().context("no [ospf]")?;
    (ospf.hello, ospf.dead) = (HELLO, DEAD);
    config.services.push(("web".into(), ANYCAST));
    let link = Link {
        sublayer: true,
        ..Link::default()
    };
    let end = join_vm(&mut config, vm, 1, link)?;
    end.add(vm)?;
    vm.run(&format!("ip addr add {VM_ADDRESS}/128 dev lo"))?;
    let daemon = Daemon::start(lab, config)?;
    let mut router = RouterConfig::new(VM_ID, vec![OspfLink::new(&end.interface, 10)]);
    (router.hello, router.dead) = (HELLO, DEAD);
    router.stubs.push(VM_ADDRESS);
    let frr = VmFrr::start(lab, vm, &router)?;

    agree(lab, &daemon, &frr)?;
    reach_each_other(lab, host, vm)?;

    // The peer falls silent; nothing tells the node.
    let interface = &end.interface;
    vm.run("kill -STOP $(pidof ospf6d)")?;
    let silent = Instant::now();
    wait_for("the end of the route", PATIENCE, || {
        Ok((!has_route(host, VM_ADDRESS)?).then_some(()))
    })?;
    let gap = silent.elapsed();
    lab.say(format_args!(
        "a silent peer's route is gone after {gap:.1?}"
    ));
    ensure!(
        gap <= Duration::from_secs(DEAD.into()) + MARGIN,
        "the dead interval is {DEAD} s and it took {gap:?}"
    );
    vm.run("kill -CONT $(pidof ospf6d)")?;
    agree(lab, &daemon, &frr)?;

    // Its interface goes and comes, with all its addresses.
    vm.run(&format!("ip link set {interface} down"))?;
    wait_for("the end of the neighbour in FRR", PATIENCE, || {
        Ok(frr.full_neighbours()?.is_empty().then_some(()))
    })?;
    vm.run(&format!("ip link set {interface} up"))?;
    for address in end.addresses.iter().filter(|address| address.contains(':')) {
        vm.run(&format!("ip addr replace {address} dev {interface}"))?;
    }
    agree(lab, &daemon, &frr)?;
    reach_each_other(lab, host, vm)?;

    daemon.stop()?;
    let stopped = Instant::now();
    wait_for("the end of the route in the machine", PATIENCE, || {
        Ok((!vm_has_route(vm, ANYCAST)?).then_some(()))
    })?;
    lab.say(format_args!(
        "a stopped node's route is gone after {:.1?}",
        stopped.elapsed()
    ));
    Ok(())
}

/// Waits until both are Full and hold one database.
fn agree(lab: &Lab, daemon: &Daemon, frr: &VmFrr) -> Result<()> {
    let id = router_id(&daemon.config().host);
    wait_for("Full", PATIENCE, || {
        let (ours, theirs) = (daemon.full_neighbours()?, frr.full_neighbours()?);
        ensure!(
            ours == [VM_ID] && theirs == [id],
            "Full here with {ours:?} and there with {theirs:?}"
        );
        Ok(Some(()))
    })?;
    let lsas = wait_for("one database", PATIENCE, || {
        let (ours, theirs) = (daemon.database()?, frr.database()?);
        let different = differences(&ours, &theirs);
        ensure!(different.is_empty(), "{different:#?}");
        // A Router-LSA, a Link-LSA and prefixes of each.
        ensure!(ours.len() >= 6, "only {ours:x?}");
        Ok(Some(ours.len()))
    })?;
    lab.say(format_args!("Full, and the same {lsas} LSAs"));
    Ok(())
}

/// Waits for each other's routes, and uses them.
fn reach_each_other(lab: &Lab, host: &Host, vm: &Vm) -> Result<()> {
    wait_for("the anycast route in the machine", PATIENCE, || {
        Ok(vm_has_route(vm, ANYCAST)?.then_some(()))
    })?;
    wait_for("the machine's route", PATIENCE, || {
        Ok(has_route(host, VM_ADDRESS)?.then_some(()))
    })?;
    vm.run(&format!("ping -c 3 -W 5 -I {VM_ADDRESS} {ANYCAST}"))?;
    lab.say("each has the other's address in its kernel, and the machine reaches the service");
    Ok(())
}

fn has_route(host: &Host, to: Ipv6Addr) -> Result<bool> {
    let routes = host
        .ns
        .run(["ip", "-6", "route", "show", "proto", "ospf"])?;
    Ok(routes.contains(&format!("{to} ")))
}

fn vm_has_route(vm: &Vm, to: Ipv6Addr) -> Result<bool> {
    let routes = vm.run("ip -6 route show proto ospf")?;
    Ok(routes.contains(&format!("{to} ")))
}
