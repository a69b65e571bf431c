//! `l2ha doctor` in a virtual machine: what only a NIC has that its driver can set up, and what
//! belongs to the kernel as a whole. Each finding is brought about, and is gone after the command
//! that was printed.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use l2ha_lab::{Cloud, Lab, vm::Vm};
use serde_json::Value;

/// Time for the command in a machine that is emulated on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// The other ends of [`nics`]. Headers with what is left to do cross these taps, so that the NICs
/// can join packets.
pub(crate) fn taps(cloud: &Cloud) -> Result<()> {
    cloud.router().ip_batch(
        "tuntap add dev doc1 mode tap vnet_hdr multi_queue\n\
         link set doc1 up\n\
         tuntap add dev doc2 mode tap vnet_hdr\n\
         link set doc2 up\n",
    )
}

/// qemu's arguments for eth1, which has two queues, and eth2, which has LRO.
pub(crate) fn nics() -> Vec<String> {
    let tap = "script=no,downscript=no,vnet_hdr=on";
    [
        "-netdev",
        &format!("tap,id=doc1,ifname=doc1,queues=2,{tap}"),
        "-device",
        "virtio-net-pci,netdev=doc1,mq=on,vectors=6,romfile=,mac=52:54:00:79:00:01",
        "-netdev",
        &format!("tap,id=doc2,ifname=doc2,{tap}"),
        "-device",
        "vmxnet3,netdev=doc2,romfile=,mac=52:54:00:79:00:02",
    ]
    .map(str::to_owned)
    .into()
}

pub(crate) fn what_a_nic_can_be_set_up_for(lab: &Lab, _: &Arc<Cloud>, vm: &Arc<Vm>) -> Result<()> {
    vm.run("ip link set eth1 up; ip link set eth2 up")?;
    for (prepare, interface, id, command) in CASES {
        vm.run(prepare)?;
        let arguments = format!("--interface {interface}");
        let found = examine(vm, &arguments)?;
        let wanted = ((*id).to_owned(), Some((*command).to_owned()));
        ensure!(found.contains(&wanted), "{id}: {found:?}");
        vm.run(command)?;
        let after = examine(vm, &arguments)?;
        ensure!(
            after.iter().all(|(after, _)| after != id),
            "after `{command}`: {after:?}"
        );
        lab.say(format_args!("{id}: {command}"));
    }
    // What is left: QEMU's NIC cannot cut tunnels' packets, and has no queues to spare.
    let left = examine(vm, "--interface eth1 --try")?;
    let ids: Vec<&str> = left.iter().map(|(id, _)| id.as_str()).collect();
    ensure!(ids == ["xdp-spare-queues"], "{left:?}");
    vm.run("ip link set eth1 down; ip link set eth2 down")
        .map(drop)
}
