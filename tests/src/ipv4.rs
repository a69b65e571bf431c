//! What the lab asks of a host about IPv4, where that is routed beside IPv6 (RFC 5838).

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{
    cloud::Host,
    interop::wait_route,
    lab::{PATIENCE, wait_for},
    trio::{ANYCAST4, Trio},
};

/// The kernel's IPv4 routes of a routing daemon to a destination.
///
/// # Errors
///
/// When the kernel cannot be asked.
pub fn routes_ipv4(host: &Host, destination: &str) -> Result<Vec<Value>> {
    let found = host.ns.ip_json(&["-4", "route", "show", destination])?;
    let list = found.as_array().context("no list of routes")?.iter();
    let theirs = list.filter(|route| {
        let protocol = route["protocol"].as_str().unwrap_or_default();
        ["ospf", "bird"].contains(&protocol)
    });
    Ok(theirs.cloned().collect())
}

/// Waits until the only route to the IPv4 anycast address leads to a server; the route.
///
/// # Errors
///
/// With the routes there are, when that takes too long.
#[track_caller]
pub fn wait_route_ipv4(host: &Host, server: &str) -> Result<Value> {
    let device = format!("l2-{server}");
    wait_for(&format!("an IPv4 route through {device}"), PATIENCE, || {
        let found = routes_ipv4(host, &ANYCAST4.to_string())?;
        ensure!(
            found.len() == 1 && crate::devices(&found[0]) == [device.as_str()],
            "{found:?}"
        );
        Ok(Some(found[0].clone()))
    })
}

/// Waits until the client's routes to the anycast addresses of both families lead to a server; that of IPv4.
///
/// # Errors
///
/// With the routes there are, when that takes too long.
#[track_caller]
pub fn wait_routes(trio: &Trio, server: &str) -> Result<Value> {
    wait_route(&trio.client.host, server)?;
    wait_route_ipv4(&trio.client.host, server)
}

/// Whether a host has no IPv4 route of ours, as after a clean stop.
///
/// # Errors
///
/// With those it has.
pub fn must_have_no_routes_ipv4(host: &Host) -> Result<()> {
    let left = host.ns.ip_json(&["-4", "route", "show", "proto", "ospf"])?;
    ensure!(left == serde_json::json!([]), "{}: {left}", host.name);
    Ok(())
}

/// The IPv4 addresses of a host's loopback interface, as `ip` shows them.
///
/// # Errors
///
/// When the kernel cannot be asked.
pub fn addresses_ipv4(host: &Host) -> Result<String> {
    host.ns.run(["ip", "-4", "addr", "show", "dev", "lo"])
}

/// Whether three pings to an address are answered.
///
/// # Errors
///
/// With what `ping` says, when one is not.
pub fn ping_ipv4(host: &Host, address: Ipv4Addr) -> Result<()> {
    let address = address.to_string();
    let words = ["ping", "-4", "-c", "3", "-i", "0.2", "-W", "1", &address];
    let text = host.ns.run(words)?;
    ensure!(text.contains(" 3 received"), "{text}");
    Ok(())
}
