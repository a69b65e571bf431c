//! BIRD on the other side: as the client of our servers, and as the servers of our client.

use anyhow::Result;
use l2ha_lab::{Speaker, interoperate};

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn bird_is_the_client_of_our_servers() -> Result<()> {
    interoperate("bird-client", Speaker::L2ha, Speaker::Bird)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn bird_servers_have_our_client() -> Result<()> {
    interoperate("bird-servers", Speaker::Bird, Speaker::L2ha)
}
