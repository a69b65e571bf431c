//! FRR's zebra and ospf6d in a virtual machine, over its kernel's own interfaces.

use std::{fs, net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};

use super::Vm;
use crate::{
    frr::{DATABASE, NEIGHBOURS, ospf6d_conf, parse_database, parse_neighbours},
    lab::{Lab, Resident, wait_for},
    routing::{LsaKey, RouterConfig},
};

const PATIENCE: Duration = Duration::from_secs(20);
const CONFIG: &str = "/etc/frr/ospf6d.conf";

/// A running zebra and ospf6d in a machine.
#[derive(Debug)]
pub struct VmFrr {
    vm: Arc<Vm>,
}

impl VmFrr {
    /// Starts both daemons and waits until they can be asked.
    ///
    /// # Errors
    ///
    /// When they do not come up.
    pub fn start(lab: &Lab, vm: &Arc<Vm>, config: &RouterConfig) -> Result<Arc<Self>> {
        vm.write(CONFIG, &ospf6d_conf(config))?;
        vm.run(&format!(
            "mkdir -p /run/frr\n\
             chown frr:frr /run/frr {CONFIG}\n\
             zebra --daemon --log file:/run/frr/zebra.log\n\
             ospf6d --daemon --config_file {CONFIG} --log file:/run/frr/ospf6d.log"
        ))
        .context("FRR does not start")?;
        let frr = lab.adopt(Self { vm: Arc::clone(vm) });
        wait_for("an answer of ospf6d", PATIENCE, || {
            frr.ospf6d("show version").map(Some)
        })?;
        Ok(frr)
    }

    /// Asks ospf6d.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn ospf6d(&self, command: &str) -> Result<String> {
        self.vm.run(&format!("vtysh -d ospf6d -c '{command}'"))
    }

    /// The router ids of the neighbours in state Full.
    ///
    /// # Errors
    ///
    /// When ospf6d does not answer.
    pub fn full_neighbours(&self) -> Result<Vec<Ipv4Addr>> {
        let text = self.ospf6d(NEIGHBOURS)?;
        parse_neighbours(&serde_json::from_str(&text).with_context(|| text.clone())?)
    }

    /// The link state database: of the area and the AS, and of each link.
    ///
    /// # Errors
    ///
    /// When ospf6d does not answer or in an unknown form.
    pub fn database(&self) -> Result<Vec<LsaKey>> {
        parse_database(&self.ospf6d(DATABASE)?)
    }
}

impl Resident for VmFrr {
    fn evidence(&self, into: &Path) -> Result<()> {
        let mut text = String::new();
        for command in [
            "show ipv6 ospf6 neighbor detail",
            "show ipv6 ospf6 database detail",
            "show ipv6 ospf6 interface",
            "show ipv6 ospf6 route detail",
        ] {
            let answer = self.ospf6d(command);
            let answer = answer.unwrap_or_else(|error| format!("{error:#}\n"));
            text.push_str(&format!("# {command}\n{answer}\n"));
        }
        text.push_str(&self.vm.run("cat /run/frr/*.log")?);
        fs::write(into.join(format!("{}.frr", self.vm.name)), text)?;
        Ok(())
    }

    fn end(&self) {
        // They end with the machine.
    }
}
