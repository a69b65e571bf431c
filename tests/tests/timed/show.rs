//! The main job as `cargo xtask run` shows it.

use anyhow::{Result, ensure};
use l2ha_lab::{binary, show};

#[test]
#[ignore = "needs root: network namespaces"]
fn everything_goes_as_told() -> Result<()> {
    let told = show::run(&show::Options {
        binary: binary()?,
        keep: false,
        json: None,
    })?;
    ensure!(told, "not every event went as told: see above");
    Ok(())
}
