//! The main job as `cargo xtask run` shows it.

use anyhow::{Result, ensure};
use l2ha_lab::{binary, show};

fn must_go_as_told(etcd: bool) -> Result<()> {
    let told = show::run(&show::Options {
        binary: binary()?,
        etcd,
        keep: false,
        json: None,
    })?;
    ensure!(told, "not every event went as told: see above");
    Ok(())
}

#[test]
#[ignore = "needs root: network namespaces"]
fn everything_goes_as_told() -> Result<()> {
    must_go_as_told(false)
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_node_joins_and_leaves_as_told() -> Result<()> {
    must_go_as_told(true)
}
