//! What neighbours advertise, and what of it the kernel gets.

use std::time::Duration;

use control::NotInstalled;
use linux::{HostRoute, HostRoutes};
use tokio::time::sleep;

use super::net::{AT_REST, Net, play};
use crate::types::View;

const SERVICE: &str = "2001:db8::80";
/// An address of node 1's own.
const OWN: &str = "fd00:77::5";
/// One on a network that node 1 is connected to by something else than a tunnel.
const CONNECTED: &str = "fd00:78::";

fn host() -> HostRoutes {
    HostRoutes {
        routes: vec![HostRoute {
            destination: CONNECTED.parse().unwrap(),
            prefix_len: 128,
            connected: true,
            gateways: Vec::new(),
        }],
        addresses: vec![OWN.parse().unwrap()],
    }
}

/// At a whole node: what is not for the kernel does not get there, is counted, and shown with
/// who advertises it; and it follows what the host has.
#[test]
fn what_the_host_has_and_is_connected_to_is_not_displaced() {
    play(async {
        let mut net = Net::new(&[(1, 2)]);
        net.node(1).set_host_routes(host());
        for address in [SERVICE, OWN, CONNECTED, "::1"] {
            net.node(2).serve(address, 0);
        }
        net.node(1).start();
        net.node(2).start();
        sleep(AT_REST).await;
        let node = net.node(1);
        assert_eq!(node.leads(SERVICE), [2]);
        for address in [OWN, CONNECTED, "::1"] {
            assert!(node.leads(address).is_empty(), "{address}");
        }
        let routes = node.routing().show(View::Routes).await.unwrap();
        let mut shown: Vec<_> = routes
            .iter()
            .filter_map(|it| Some((it.entry.prefix.to_string(), it.entry.not_installed?)))
            .collect();
        shown.sort();
        let expected = [
            ("::1/128", NotInstalled::Loopback),
            ("fd00:77::5/128", NotInstalled::Own),
            ("fd00:78::/128", NotInstalled::Connected),
        ];
        assert_eq!(
            shown,
            expected.map(|(prefix, why)| (prefix.to_owned(), why))
        );
        let by = &routes.iter().find(|it| it.entry.not_installed.is_some());
        assert_eq!(
            by.unwrap().entry.routers,
            ["10.0.0.2".parse::<std::net::Ipv4Addr>().unwrap()]
        );
        let status = node.routing().show(View::Summary).await.unwrap().unwrap();
        assert_eq!(
            status.not_installed.into_values().collect::<Vec<_>>(),
            [1, 1, 1]
        );
        let kept_out = status.kept_out.iter();
        let kept_out: Vec<_> = kept_out.map(|it| it.reason).collect();
        // A shared network is ordinary.
        assert_eq!(kept_out, [NotInstalled::Loopback, NotInstalled::Own]);

        // The host loses all of it: the neighbours' routes are what is left.
        node.set_host_routes(HostRoutes::default());
        node.routing().check_routes();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(node.leads(OWN), [2]);
        assert_eq!(node.leads(CONNECTED), [2]);
        assert!(node.leads("::1").is_empty());
        // And is connected again: somebody else has changed something.
        node.set_host_routes(host());
        node.routing().look_around();
        sleep(Duration::from_secs(1)).await;
        assert!(node.leads(OWN).is_empty());
        assert!(node.leads(CONNECTED).is_empty());
        assert_eq!(node.leads(SERVICE), [2]);
    });
}
