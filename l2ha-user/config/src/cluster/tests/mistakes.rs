//! One mistake at a time: each is found with its line, and the remedy shows what to write.

use super::*;

/// What is replaced in the page's example by what; the line, the key, a part of what is wrong and of the remedy.
type Mistake = (
    &'static str,
    &'static str,
    usize,
    &'static str,
    &'static str,
    &'static str,
);

#[rustfmt::skip]
const MISTAKES: &[Mistake] = &[
    // The cluster.
    ("name = \"shop\"\n", "", 2, "cluster.name", "is missing", "add `name = \"shop\"` below [cluster]"),
    ("\"shop\"", "\"My Shop\"", 3, "cluster.name", "'M' cannot be in this name", "write `name = \"my-shop\"`"),
    ("secret_file = \"/etc/l2ha/cluster.key\"\n", "", 2, "cluster.secret_file", "is missing", "add `secret_file ="),
    ("/etc/l2ha/cluster.key", "none.key", 4, "cluster.secret_file", "none.key is not there", "l2ha genkey --bytes 32 --output"),
    ("/etc/l2ha/cluster.key", "short.key", 4, "cluster.secret_file", "has 8 characters; a cluster's secret is 64", "copy it from another node"),
    ("/etc/l2ha/cluster.key", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 4, "cluster.secret_file", "this is no file's name", "write `secret_file = \"FILE\"`"),
    ("name = \"shop\"", "name = \"shop\"\nsecret_previous_file = \"cluster.key\"", 4, "cluster.secret_previous_file", "have the same ids", "make another secret"),
    ("name = \"shop\"", "name = \"shop\"\nlinks = \"mesh\"", 4, "cluster.links", "not one of `roles` and `full`", "write `links ="),
    ("name = \"shop\"", "name = \"shop\"\nauthentication = \"no\"", 4, "cluster.authentication", "must be `true` or `false`", "`authentication = false`"),
    ("name = \"shop\"", "name = \"shop\"\nbfd = \"fast\"", 4, "cluster.bfd", "is not milliseconds", "write `bfd = \"50x3\"`"),
    ("name = \"shop\"", "name = \"shop\"\nmtu = 100", 4, "cluster.mtu", "100 is not in 1280 to 65535", "write `mtu = 1280`"),
    ("name = \"shop\"", "name = \"shop\"\nnode = \"server-4\"", 4, "cluster.node", "`server-4` is no node", "did you mean `node = \"server-"),
    ("[cluster.servers]", "[cluster.server]", 6, "cluster.server", "has no key `server`", "did you mean `servers`?"),
    // Its nodes.
    ("server-1 =", "Server_1 =", 7, "cluster.servers.Server_1", "'S' cannot be in this name", "call it `server-1`"),
    ("\"10.0.0.1\"", "1", 7, "cluster.servers.server-1", "must be an address, not a whole number", "write `server-1 = \"10.0.0.1\"`"),
    ("\"10.0.0.1\"", "\"10.0.0.256\"", 7, "cluster.servers.server-1", "not an IP address", "write `server-1 = \"10.0.0.1\"`"),
    ("\"10.0.0.1\"", "[\"10.0.0.1\", \"10.0.0.7\"]", 7, "cluster.servers.server-1", "a second address of its family", "keep one of each family"),
    ("\"10.0.0.3\"", "\"10.0.0.1\"", 9, "cluster.servers.server-3", "`10.0.0.1` is already used on line 7", "each node's own address"),
    ("client-1 =", "server-1 =", 12, "cluster.clients.server-1", "`server-1` is already used on line 7", "a server, a client or a gateway"),
    ("cost = 20", "cots = 20", 8, "cluster.servers.server-2.cots", "has no key `cots`", "did you mean `cost`?"),
    ("cost = 20", "cost = 0", 8, "cluster.servers.server-2.cost", "0 is not in 1 to 65535", "write `cost ="),
    ("address = \"10.0.0.2\", ", "", 8, "cluster.servers.server-2", "this node has no address", "write `server-2 = { address = \"10.0.0.1\" }`"),
    ("cost = 20", "encapsulation = \"gre\"", 8, "cluster.servers.server-2.encapsulation", "not one of `udp` and `ip`", "write `encapsulation ="),
    ("cost = 20", "mtu = 9000", 7, "cluster.servers.server-1", "only one says its underlay's `mtu`", "write `mtu = 1500` below [cluster]"),
    ("cost = 20", "router_id = \"48.50.239.212\"", 8, "cluster.servers.server-2", "have the same router id, 48.50.239.212", "router_id = \"10.255.0.1\""),
    ("\"10.0.0.9\"", "\"2001:db8:77::9\"", 12, "cluster.clients.client-1", "no family of addresses in common", "give one of them both"),
    ("cost = 20 }\nserver-3 = \"10.0.0.3\"", "bfd = \"20x3\" }\nserver-3 = { address = \"10.0.0.3\", bfd = \"off\" }", 9, "cluster.servers.server-3.bfd", "their tunnel needs one for both", "below [cluster.pairs], as"),
    ("cost = 20", "prefixes = [\"10.9.0.0/16\"]", 8, "cluster.servers.server-2.prefixes", "a server carries no other network's packets", "below [cluster.gateways]"),
    ("[[services]]", "[cluster.gateways]\ngateway-1 = { address = \"10.0.0.20\", prefixes = [\"10.9.0.1/16\"] }\n[[services]]", 16, "cluster.gateways.gateway-1.prefixes[0]", "has bits beyond its length", "write `prefixes = [\"10.9.0.0/16\"]`"),
    ("[[services]]", "[cluster.gateways]\ngateway-1 = { address = \"10.0.0.20\", prefixes = [\"::/0\"] }\n[[services]]", 16, "cluster.gateways.gateway-1", "has a default route", "the networks behind this gateway"),
    // Its pairs.
    ("[[services]]", "[cluster.pairs]\nserver-1 = { cost = 5 }\n[[services]]", 16, "cluster.pairs.server-1", "does not name two nodes", "with a blank between them"),
    ("[[services]]", "[cluster.pairs]\n\"server-1 client-9\" = { cost = 5 }\n[[services]]", 16, "cluster.pairs.server-1 client-9", "`client-9` is no node", "did you mean `client-"),
    ("[[services]]", "[cluster.pairs]\n\"client-1 client-2\" = { cost = 5 }\n[[services]]", 16, "cluster.pairs.client-1 client-2", "there is no tunnel between", "links = \"full\""),
    ("[[services]]", "[cluster.pairs]\n\"client-1 server-1\" = { cost = 5 }\n\"server-1 client-1\" = { cost = 5 }\n[[services]]", 17, "cluster.pairs.server-1 client-1", "is already used on line 16", "keep one of the two"),
    // Its services.
    ("\"2001:db8::80\"\n", "\"2001:db8::80\"\nservers = [\"server-4\"]\n", 18, "services[0].servers", "`server-4` is no server", "did you mean `server-"),
    ("\"2001:db8::80\"\n", "\"2001:db8::80\"\nservers = [\"client-1\"]\n", 18, "services[0].servers", "`client-1` is a client", "move its line below [cluster.servers]"),
    ("[[services]]\nname = \"web\"", "[cluster.gateways]\ng = \"10.0.0.20\"\n[[services]]\nservers = [\"g\"]\nname = \"web\"", 18, "services[0].servers", "`g` is a gateway", "move its line below [cluster.servers]"),
    ("\"2001:db8::80\"\n", "\"2001:db8::80\"\nservers = []\n", 18, "services[0].servers", "must be names of servers", "\"server-1\", \"server-2\", \"server-3\""),
    ("\"2001:db8::80\"\n", "\"2001:db8::80\"\nshare = \"yes\"\n", 18, "services[0].share", "must be `true` or `false`", "`share = true`"),
    ("\"2001:db8::80\"\n", "\"fe80::80\"\n", 17, "services[0].address", "", "write `address ="),
    // Beside it.
    ("[[services]]", "[node]\nname = \"server-1\"\n[[services]]", 16, "node.name", "the same on every node", "the cluster gives every node its name"),
    ("[[services]]", "[ospf]\nrouter_id = \"10.0.0.1\"\n[[services]]", 16, "ospf.router_id", "the same on every node", "into the node's own table"),
    ("[[services]]", "[ospf]\nhello = 1\n[[services]]", 16, "ospf.hello", "[ospf] has no key `hello`", "did you mean `hello_interval`?"),
    ("[[services]]", "[[ospf]]\nhello_interval = 1\n[[services]]", 15, "ospf", "there is one of", "write `[ospf]`"),
    ("[[services]]", "[services]", 15, "services", "there can be several", "write `[[services]]`"),
];

#[test]
fn each_has_its_line_and_remedy() {
    assert!(MISTAKES.len() >= 30);
    for (from, to, line, key, what, remedy) in MISTAKES {
        assert_eq!(example().matches(from).count(), 1, "{from}");
        let file = Host::new(&example().replacen(from, to, 1));
        file.secret("short.key", "00112233");
        let errors = match file.load(&host("10.0.0.1")) {
            Ok(_) => panic!("taken: {to}"),
            Err(errors) => errors,
        };
        let found = errors.errors().iter().any(|error| {
            error.line == Some(*line)
                && error.key == *key
                && error.what.contains(what)
                && error.remedy.contains(remedy)
        });
        assert!(
            found,
            "{to:?}: line {line}, {key}: {what}; {remedy}\n{errors}"
        );
        assert!(
            !errors.to_string().contains("000102030405"),
            "a secret: {errors}"
        );
    }
}
