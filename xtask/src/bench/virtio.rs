//! The underlay `virtio`: two virtual machines, joined NIC to NIC, with Debian's kernel.
//!
//! There the kernel's own l2tp is to be had, and native XDP in a driver such as clouds have. The
//! processors are emulated: only ratios mean anything.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use l2ha_lab::{
    CloudOptions, Lab, NodeFile, TunnelConfig,
    vm::{Extras, Vm},
    wait_for,
};

use super::{
    Effort, go_on,
    host::progress,
    rows::{Figure, Samples, Underlay},
    tcp,
};
use crate::cmd;

/// Subjects, and the third byte of their addresses.
const SUBJECTS: [(&str, u8); 4] = [("plain", 0), ("vxlan", 1), ("l2tp", 2), ("l2ha", 3)];
const CASES: [(&str, u32, bool); 3] = [
    ("tcp1", 1, false),
    ("tcp1-reverse", 1, true),
    ("tcp4", 4, false),
];
/// An emulated machine starts the daemon in some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Boots both machines and runs every case, the subjects taking turns.
pub(super) fn measure(effort: Effort, binary: &Path, samples: &mut Samples) -> Result<()> {
    let lab = Lab::new("bench")?;
    let machines = boot(&lab, binary)?;
    let result = run(&machines, effort, samples);
    if result.is_err() {
        for machine in &machines {
            let (_, log) =
                machine.try_run("cat /tmp/l2ha.log; ip -br addr; dmesg | tail -5", PATIENCE)?;
            eprintln!("\nin {}:\n{log}", machine.name);
        }
    }
    result
}

fn boot(lab: &Lab, binary: &Path) -> Result<[Arc<Vm>; 2]> {
    // Debug information would fill the machine's memory.
    let stripped = lab.dir().join("l2ha");
    cmd::output(Command::new("strip").arg("-o").arg(&stripped).arg(binary))?;
    let (cloud, _) = lab.cloud(CloudOptions::default(), &[])?;
    let boot = |name: &str, number: u8, end: &str| {
        progress(format_args!("virtio: booting {name}"));
        // The second pair is l2ha's alone: the others must not pay for its program.
        let nics = [7001, 7002].map(|port| format!("socket,{end}=127.0.0.1:{port}"));
        let extras = Extras {
            programs: vec![stripped.clone(), "/usr/bin/iperf3".into()],
            nics: nics.into(),
            // Two would take turns on one of the host's and wait for each other's locks while they have it.
            processors: 1,
            ..Extras::default()
        };
        Vm::boot_with(lab, &cloud, name, number, &extras)
    };
    Ok([boot("a", 201, "listen")?, boot("b", 202, "connect")?])
}

fn set_up(machine: &Vm, mine: u8, other: u8) -> Result<()> {
    let cookie = |of: u8| Some(PathBuf::from(format!("/tmp/{of}.cookie")));
    let net = |net: u8, number: u8| Ipv4Addr::new(10, 8, net, number);
    let remote = net(4, other).into();
    let mut file = NodeFile::new(&format!("bench-{mine}"), "eth2", &[net(4, mine).into()]);
    file.mode = "xdp".into();
    file.tunnels.push(TunnelConfig {
        receive_cookie: cookie(mine),
        send_cookie: cookie(other),
        addresses: vec![format!("{}/24", net(3, mine))],
        ..TunnelConfig::new("bench", remote, mine.into(), other.into())
    });
    machine.write("/tmp/l2ha.toml", &file.toml())?;
    machine.run(&format!(
        "mount -t bpf bpf /sys/fs/bpf\n\
         umask 077; echo a1a2a3a4a5a6a7a8 >/tmp/1.cookie; echo b1b2b3b4b5b6b7b8 >/tmp/2.cookie\n\
         ip addr add 10.8.0.{mine}/24 dev eth1; ip link set eth1 up\n\
         ip addr add 10.8.4.{mine}/24 dev eth2; ip link set eth2 up\n\
         ip link add vx0 type vxlan id 7 local 10.8.0.{mine} remote 10.8.0.{other} dstport 4789 dev eth1\n\
         ip addr add 10.8.1.{mine}/24 dev vx0; ip link set vx0 up\n\
         ip l2tp add tunnel tunnel_id 1 peer_tunnel_id 1 local 10.8.0.{mine} remote 10.8.0.{other} \
         encap udp udp_sport 1701 udp_dport 1701\n\
         ip l2tp add session name kl2 tunnel_id 1 session_id {mine} peer_session_id {other} \
         cookie b{other}a2a3a4a5a6a7a8 peer_cookie b{mine}a2a3a4a5a6a7a8 l2spec_type none\n\
         ip addr add 10.8.2.{mine}/24 dev kl2; ip link set kl2 mtu 1442 up\n\
         iperf3 -s >/dev/null 2>&1 &\n\
         l2ha run --config /tmp/l2ha.toml >/tmp/l2ha.log 2>&1 &\n\
         sleep 0.1"
    ))?;
    Ok(())
}

fn run(machines: &[Arc<Vm>; 2], effort: Effort, samples: &mut Samples) -> Result<()> {
    let [a, b] = machines;
    progress(format_args!("virtio: setting up"));
    set_up(a, 1, 2)?;
    set_up(b, 2, 1)?;
    for (subject, net) in SUBJECTS {
        wait_for(&format!("an answer over {subject}"), PATIENCE, || {
            go_on()?;
            let (status, said) = a.try_run(&format!("ping -c 1 -W 1 10.8.{net}.2"), PATIENCE)?;
            ensure!(status == 0, "{said}");
            Ok(Some(()))
        })?;
    }
    for run in 0..effort.runs {
        for (case, streams, reverse) in CASES {
            for turn in 0..SUBJECTS.len() {
                go_on()?;
                let (subject, net) = SUBJECTS[(turn + run as usize) % SUBJECTS.len()];
                progress(format_args!(
                    "virtio: run {} of {}, {case}, {subject}",
                    run + 1,
                    effort.runs
                ));
                let transfer = transfer(a, net, streams, reverse, effort.tcp)
                    .with_context(|| format!("{case} over {subject}"))?;
                samples.add(
                    Underlay::Virtio,
                    subject,
                    case,
                    Figure::Throughput,
                    transfer.gbit_per_second,
                );
            }
        }
    }
    for machine in machines {
        // It exits with 1 when something is wrong, and says so.
        let (_, text) = machine.try_run("l2ha status --json", PATIENCE)?;
        let status: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("l2ha status in {}: {text}", machine.name))?;
        let hook = &status["underlay"]["hook"];
        ensure!(hook == "xdp", "l2ha in {} is on {hook}", machine.name);
    }
    Ok(())
}

fn transfer(
    from: &Vm,
    net: u8,
    streams: u32,
    reverse: bool,
    time: Duration,
) -> Result<tcp::Transfer> {
    // Emulated, the first second is the slow start's.
    let seconds = time.as_secs() + 1;
    let reverse = if reverse { "-R" } else { "" };
    let (_, text) = from.try_run(
        &format!(
            "iperf3 -c 10.8.{net}.2 -t {seconds} -P {streams} {reverse} -J --connect-timeout 5000"
        ),
        time + PATIENCE,
    )?;
    tcp::parse(&text)
}
