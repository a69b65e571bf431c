//! FRR's ospf6d on the other side: as the client of our servers, and as the servers of our client.

use anyhow::Result;
use l2ha_lab::{Speaker, interoperate};

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_is_the_client_of_our_servers() -> Result<()> {
    interoperate("frr-client", Speaker::L2ha, Speaker::Frr)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn frr_servers_have_our_client() -> Result<()> {
    interoperate("frr-servers", Speaker::Frr, Speaker::L2ha)
}
