//! The virtual machine itself, without us: it boots, obeys, and is reachable over the cloud. When
//! this fails, the other scenarios with virtual machines say nothing about l2ha.

use std::time::Duration;

use anyhow::{Result, ensure};
use l2ha_lab::{
    CloudOptions, Lab,
    vm::{Data, Vm},
};

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn boots_obeys_and_is_reachable() -> Result<()> {
    Lab::run("vm-boot", |lab| {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["host"])?;
        let host = &hosts[0];
        let vm = Vm::boot(lab, &cloud, "vm", 200)?;

        let (status, text) =
            vm.try_run("echo out; echo err >&2; exit 7", Duration::from_secs(5))?;
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
        ensure!(vm.run("cat /tmp/nonsense")? == nonsense);

        let modules = vm.run("cut -d' ' -f1 /proc/modules")?;
        for module in ["l2tp_eth", "l2tp_ip", "l2tp_ip6", "vxlan", "veth"] {
            ensure!(
                modules.lines().any(|line| line == module),
                "no {module}: {modules}"
            );
        }
        for address in [vm.v4.to_string(), vm.v6.to_string()] {
            host.ns
                .run(["busybox", "ping", "-c", "2", "-W", "5", &address])?;
        }
        for address in [host.v4.to_string(), host.v6.to_string()] {
            vm.run(&format!("ping -c 2 -W 5 {address}"))?;
        }
        let data = Data::random(50_000_000)?;
        for (here, there) in [
            (host.v4.into(), vm.v4.into()),
            (host.v6.into(), vm.v6.into()),
        ] {
            let times = data.exchange((&host.ns, here), (&vm, there))?;
            lab.say(format_args!(
                "TCP without a tunnel: {:.0} Mbit/s there, {:.0} back",
                data.rate(times.to_vm),
                data.rate(times.to_host)
            ));
        }
        Ok(())
    })
}
