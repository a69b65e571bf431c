//! The virtual machine itself, without us: it obeys, and is reachable over the cloud. When this
//! fails, the other parts say nothing about l2ha.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use l2ha_lab::{
    Cloud, Lab,
    vm::{Data, Vm},
};

pub(crate) fn obeys_and_is_reachable(lab: &Lab, cloud: &Arc<Cloud>, vm: &Arc<Vm>) -> Result<()> {
    let host = lab.host(cloud, "host")?;
    let (status, text) = vm.try_run("echo out; echo err >&2; exit 7", Duration::from_secs(5))?;
    ensure!(
        (status, text.as_str()) == (7, "out\nerr\n"),
        "{status} {text:?}"
    );
    ensure!(
        vm.run("false; echo no").is_err(),
        "a failure was passed over"
    );
    let (status, _) = vm.try_run("sleep 60", Duration::from_secs(1))?;
    ensure!(status == 143, "{status}");
    // What looks like an answer is none.
    let nonsense = "1 0 5\nready\n";
    vm.write("/tmp/nonsense", nonsense)?;
    let read = vm.run("cat /tmp/nonsense")?;
    ensure!(read == nonsense, "{read:?}");

    let modules = vm.run("cut -d' ' -f1 /proc/modules")?;
    for module in ["l2tp_eth", "l2tp_ip", "l2tp_ip6", "vxlan", "veth"] {
        ensure!(
            modules.lines().any(|line| line == module),
            "no {module}: {modules}"
        );
    }
    for address in [vm.v4.to_string(), vm.v6.to_string()] {
        host.ns
            .run(["busybox", "ping", "-c", "1", "-W", "5", &address])?;
    }
    for address in [host.v4.to_string(), host.v6.to_string()] {
        vm.run(&format!("ping -c 1 -W 5 {address}"))?;
    }
    let data = Data::random(5_000_000)?;
    for (here, there) in [
        (host.v4.into(), vm.v4.into()),
        (host.v6.into(), vm.v6.into()),
    ] {
        let times = data.exchange((&host.ns, here), (vm, there))?;
        lab.say(format_args!(
            "TCP without a tunnel: {:.0} Mbit/s there, {:.0} back",
            data.rate(times.to_vm),
            data.rate(times.to_host)
        ));
    }
    Ok(())
}
