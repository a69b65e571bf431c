//! `l2ha doctor` in a virtual machine: what only a NIC has that its driver can set up, and what
//! belongs to the kernel as a whole. Each finding is brought about, and is gone after the command
//! that was printed.

use std::{net::UdpSocket, path::PathBuf, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Daemon, Lab, Link, NodeConfig, UNDERLAY,
    vm::{Extras, Vm, join_vm},
};
use serde_json::Value;

/// Time for the command in a machine that is emulated on a busy host.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bring about; then the interface that is looked at, the finding and the command to be printed.
const CASES: &[(&str, &str, &str, &str)] = &[
    (
        "true",
        "eth1",
        "bpffs-missing",
        "mount -t bpf bpf /sys/fs/bpf",
    ),
    (
        "sysctl -w net.core.bpf_jit_enable=0",
        "eth1",
        "jit-off",
        "sysctl -w net.core.bpf_jit_enable=1",
    ),
    // QEMU's virtio NIC comes with it on.
    ("true", "eth1", "gro-hw", "ethtool -K eth1 rx-gro-hw off"),
    // And this one with this.
    ("true", "eth2", "lro", "ethtool -K eth2 lro off"),
    (
        "ip link set eth1 mtu 9000",
        "eth1",
        "xdp-mtu",
        "ip link set dev eth1 mtu 3506",
    ),
    (
        "ethtool -L eth1 combined 1",
        "eth1",
        "few-queues",
        "ethtool -L eth1 combined 2",
    ),
    (
        "ethtool -K eth1 gro off",
        "eth1",
        "gro-off",
        "ethtool -K eth1 gro on",
    ),
    (
        "ethtool -K eth1 tx off",
        "eth1",
        "tx-checksum-off",
        "ethtool -K eth1 tx on",
    ),
    (
        "ethtool -K eth1 sg off",
        "eth1",
        "sg-off",
        "ethtool -K eth1 sg on",
    ),
];

/// The ids of the findings, with their commands.
fn examine(vm: &Vm, arguments: &str) -> Result<Vec<(String, Option<String>)>> {
    let (status, text) = vm.try_run(&format!("l2ha doctor --json {arguments}"), PATIENCE)?;
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?;
    ensure!(answer["unknown"] == Value::Array(Vec::new()), "{answer}");
    let findings = answer["findings"].as_array().context("no findings")?;
    let owned = |value: &Value| value.as_str().map(str::to_owned);
    Ok(findings
        .iter()
        .map(|it| (owned(&it["id"]).unwrap_or_default(), owned(&it["command"])))
        .collect())
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_a_nic_can_be_set_up_for() -> Result<()> {
    Lab::run("vm-doctor", |lab| {
        let (cloud, _) = lab.cloud(CloudOptions::default(), &[])?;
        // Headers with what is left to do cross these taps, so that the NICs can join packets.
        cloud.router().ip_batch(
            "tuntap add dev doc1 mode tap vnet_hdr multi_queue\n\
             link set doc1 up\n\
             tuntap add dev doc2 mode tap vnet_hdr\n\
             link set doc2 up\n",
        )?;
        let tap = "script=no,downscript=no,vnet_hdr=on";
        let arguments = [
            "-netdev",
            &format!("tap,id=doc1,ifname=doc1,queues=2,{tap}"),
            "-device",
            "virtio-net-pci,netdev=doc1,mq=on,vectors=6,romfile=,mac=52:54:00:79:00:01",
            "-netdev",
            &format!("tap,id=doc2,ifname=doc2,{tap}"),
            "-device",
            "vmxnet3,netdev=doc2,romfile=,mac=52:54:00:79:00:02",
        ]
        .map(str::to_owned);
        let extras = Extras {
            programs: vec![stripped(lab)?],
            arguments: arguments.into(),
            ..Extras::default()
        };
        let vm: Arc<Vm> = Vm::boot_with(lab, &cloud, "vm", 205, &extras)?;
        vm.run("ip link set eth1 up; ip link set eth2 up")?;
        for (prepare, interface, id, command) in CASES {
            vm.run(prepare)?;
            let arguments = format!("--interface {interface}");
            let found = examine(&vm, &arguments)?;
            let wanted = ((*id).to_owned(), Some((*command).to_owned()));
            ensure!(found.contains(&wanted), "{id}: {found:?}");
            vm.run(command)?;
            let after = examine(&vm, &arguments)?;
            ensure!(
                after.iter().all(|(after, _)| after != id),
                "after `{command}`: {after:?}"
            );
            lab.say(format_args!("{id}: {command}"));
        }
        // What is left: QEMU's NIC cannot cut tunnels' packets, and has no queues to spare.
        let left = examine(&vm, "--interface eth1 --try")?;
        let ids: Vec<&str> = left.iter().map(|(id, _)| id.as_str()).collect();
        ensure!(ids == ["xdp-spare-queues"], "{left:?}");
        Ok(())
    })
}

/// UDP packets of a tunnel with checksums that come close together, received by tc: lost when the
/// kernel joins them, and not any more after the command.
#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn joined_packets_are_lost_until_they_are_not_joined() -> Result<()> {
    Lab::run("vm-doctor-gro", |lab| {
        let (cloud, hosts) = lab.cloud(CloudOptions::default(), &["node"])?;
        let host = &hosts[0];
        let vm = Vm::boot(lab, &cloud, "vm", 206)?;
        let mut config = NodeConfig::tunnels_only(lab, host)?;
        config.mode = "tc".into();
        let link = Link {
            v6: true,
            ..Link::default()
        };
        join_vm(&mut config, &vm, 1, link)?.add(&vm)?;
        let daemon = Daemon::start(lab, config)?;
        // A busy NIC hands many packets to GRO at once; a veth gives them one by one unless GRO
        // waits for more.
        host.ns.run(["ethtool", "-K", UNDERLAY, "gro", "on"])?;
        let wait = "mount -t sysfs sysfs /sys && cd /sys/class/net/eth0 && \
                    echo 2000000 >gro_flush_timeout && echo 10 >napi_defer_hard_irqs";
        host.ns.run(["unshare", "--mount", "sh", "-c", wait])?;
        // Somebody who listens: or the sender would hear that nobody does, and end.
        let _ear = host.ns.enter(|| UdpSocket::bind("10.78.1.1:9"))??;
        vm.run("ping -c 1 -W 5 10.78.1.1; head -c 1000000 /dev/zero >/tmp/data")?;

        for feature in ["rx-gro-list", "rx-udp-gro-forwarding"] {
            host.ns.run(["ethtool", "-K", UNDERLAY, feature, "on"])?;
            let (received, lost) = burst(&vm, &daemon)?;
            ensure!(
                received < BURST / 2 && lost > 0,
                "{feature}: {received}, {lost}"
            );
            let file = daemon.file().to_string_lossy().into_owned();
            let binary = daemon.binary().to_string_lossy().into_owned();
            let words = [&*binary, "doctor", "--json", "--config", &file];
            let (_, text) = host.ns.try_run(words)?;
            let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
            let command = answer["findings"][0]["command"]
                .as_str()
                .with_context(|| text.clone())?;
            ensure!(command.contains(feature), "{text}");
            host.ns.run(["sh", "-c", command])?;
            let (after, failed) = burst(&vm, &daemon)?;
            ensure!(
                after > BURST * 9 / 10 && failed == 0,
                "mended: {after}, {failed}"
            );
            lab.say(format_args!(
                "{feature}: {received} of {BURST} arrive, {lost} refused; after `{command}`: {after}"
            ));
        }
        daemon.stop()
    })
}

/// Packets in a burst.
const BURST: u64 = 1000;

/// Sends a burst through the tunnel; how much of it is received, and how many packets
/// cannot be.
fn burst(vm: &Vm, daemon: &Daemon) -> Result<(u64, u64)> {
    let counts = || -> Result<(u64, u64)> {
        let status = daemon.status()?;
        let number = |value: &Value| value.as_u64().context("no number");
        Ok((
            number(&status["tunnels"][0]["rx_packets"])?,
            number(&status["dataplane"]["reasons"]["decap_failed"])?,
        ))
    };
    let before = counts()?;
    vm.run("exec 3<>/dev/udp/10.78.1.1/9; dd if=/tmp/data bs=1000 >&3 2>/dev/null")?;
    // What GRO still holds back comes within milliseconds.
    std::thread::sleep(Duration::from_millis(200));
    let after = counts()?;
    Ok((after.0 - before.0, after.1 - before.1))
}

/// The command without what only a debugger reads: it goes into the machine's memory.
fn stripped(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.dir().join("bin");
    std::fs::create_dir_all(&folder)?;
    let binary = folder.join("l2ha");
    std::fs::copy(lab.binary()?, &binary)?;
    // Without strip(1) it is merely larger.
    let _ = Command::new("strip").arg(&binary).status();
    Ok(binary)
}
