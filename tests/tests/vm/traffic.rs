//! A daemon in the machine and one here, over its NIC's native XDP and over tc: data both ways,
//! compared by SHA-256.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use l2ha_lab::{
    Cloud, Daemon, Host, Lab, Link, NodeConfig, UNDERLAY,
    vm::{Data, Pseudowire, Vm, join_vm},
    wait_for,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn both_modes(lab: &Lab, cloud: &Arc<Cloud>, vm: &Arc<Vm>) -> Result<()> {
    let host = lab.host(cloud, "traffic")?;
    vm.run("mount -t bpf bpf /sys/fs/bpf")?;
    let mut config = NodeConfig::tunnels_only(lab, &host)?;
    let end = join_vm(&mut config, vm, 1, Link::default())?;
    let daemon = Daemon::start(lab, config)?;
    for mode in ["xdp", "tc"] {
        talk(lab, &host, vm, &end, mode).with_context(|| format!("mode {mode}"))?;
    }
    daemon.stop()
}

/// A daemon in the machine, and data both ways to the one here.
fn talk(lab: &Lab, host: &Host, vm: &Arc<Vm>, end: &Pseudowire, mode: &str) -> Result<()> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let mut files = String::new();
    let mut keys = String::new();
    for (key, cookie) in [
        ("receive_cookie_file", &end.receive_cookie),
        ("send_cookie_file", &end.send_cookie),
    ] {
        if !cookie.is_empty() {
            vm.write(&format!("/tmp/{key}"), &format!("{}\n", hex(cookie)))?;
            files.push_str(&format!(" /tmp/{key}"));
            keys.push_str(&format!("{key} = \"/tmp/{key}\"\n"));
        }
    }
    let addresses: Vec<String> = end.addresses.iter().map(|it| format!("\"{it}\"")).collect();
    vm.write(
        "/tmp/l2ha.toml",
        &format!(
            "[node]\nname = \"vm\"\nrun_dir = \"/tmp/l2ha\"\n\n\
             [underlay]\ninterface = \"{UNDERLAY}\"\naddresses = [\"{}\"]\nmode = \"{mode}\"\n\n\
             [[tunnels]]\nname = \"node\"\ninterface = \"{}\"\nremote = \"{}\"\n\
             local_port = {}\nremote_port = {}\nsession_id = {}\npeer_session_id = {}\n{keys}\
             addresses = [{}]\n",
            end.local,
            end.interface,
            end.remote,
            end.ports.0,
            end.ports.1,
            end.session_id,
            end.peer_session_id,
            addresses.join(", ")
        ),
    )?;
    vm.run(&format!(
        "chmod 600 /tmp/l2ha.toml{files}\n\
         l2ha run --config /tmp/l2ha.toml >/tmp/l2ha.log 2>&1 & echo $! >/tmp/l2ha.pid"
    ))?;
    let there = end.addresses[0].split('/').next().unwrap_or_default();
    let here = there.trim_end_matches('2').to_owned() + "1";
    let answered = wait_for("an answer over the tunnel", PATIENCE, || {
        let (status, _) = vm.try_run(&format!("ping -c 1 -W 1 {here}"), PATIENCE)?;
        Ok((status == 0).then_some(()))
    });
    if let Err(error) = answered {
        return Err(error.context(vm.run("cat /tmp/l2ha.log; ip -br addr")?));
    }
    let status: Value =
        serde_json::from_str(&vm.run("l2ha status --json --config /tmp/l2ha.toml || true")?)?;
    ensure!(status["underlay"]["hook"] == mode, "{}", status["underlay"]);
    let data = Data::random(3_000_000)?;
    let times = data.exchange((&host.ns, here.parse()?), (vm, there.parse()?))?;
    lab.say(format_args!(
        "{mode}: {:.0} Mbit/s to the machine, {:.0} back",
        data.rate(times.to_vm),
        data.rate(times.to_host)
    ));
    vm.run_for(
        "kill $(cat /tmp/l2ha.pid); while kill -0 $(cat /tmp/l2ha.pid) 2>/dev/null; do sleep 0.2; done",
        PATIENCE,
    )?;
    Ok(())
}
