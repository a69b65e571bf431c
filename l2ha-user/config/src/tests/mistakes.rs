//! One mistake at a time: each is found with its line, and the remedy shows what to write.

use super::*;

/// One mistake: what is replaced in [`GOOD`] by what; the line, the key, a part of what is wrong
/// and a part of the remedy.
pub(super) type Mistake<'a> = (&'a str, &'a str, usize, &'a str, &'a str, &'a str);

#[rustfmt::skip]
pub(super) fn mistakes() -> Vec<Mistake<'static>> {
    let end = "2001:db8::80\"\n";
    let peer = "peer_session_id = 2001";
    vec![
        // The file as a whole.
        ("[node]\nname = \"server-1\"", "", 18, "node", "section is missing", "add a line `[node]`, and below it `name = \"server-1\"`"),
        ("[ospf]", "[opsf]", 14, "opsf", "no section `opsf`", "did you mean `[ospf]`?"),
        ("[ospf]", "[weather]\n[ospf]", 14, "weather", "no section `weather`", "there are `node`, `underlay`, `tunnels`, `ospf`, `ospf_areas`, `ospf_keys`, `bfd_keys`, `services`, `cluster` and `membership`"),
        ("[node]\n", "interface = \"eth1\"\n[node]\n", 1, "interface", "outside of every section", "move it below the line `[underlay]`"),
        ("[[tunnels]]", "[tunnels]", 8, "tunnels", "is one section", "write `[[tunnels]]`, with two brackets"),
        ("[ospf]", "[[ospf]]", 14, "ospf", "only one [ospf]", "write `[ospf]` instead of `[[ospf]]`"),
        ("[node]\nname", "node", 1, "node", "must be a section, not a string", "write `[node]` on a line of its own"),
        ("[node]\n", "[[node]\n", 1, "", "not TOML", "write `[node]`"),
        ("\"server-1\"", "\"server-1", 2, "", "not TOML", "write `name = \"server-1\"`"),
        ("name = \"client\"\n", "name = \"client\"\nname = \"again\"\n", 10, "", "duplicate key `name`", "keep one of the two"),
        // Unknown keys and wrong kinds.
        ("remote =", "remot =", 10, "tunnels[0].remot", "no key `remot`", "did you mean `remote`?"),
        ("remote =", "session-id = 7\nremote =", 10, "tunnels[0].session-id", "no key", "remove it: `session_id` is there"),
        ("remote =", "colour = 7\nremote =", 10, "tunnels[0].colour", "no key", "remove it; [[tunnels]] has `name`, `interface`"),
        ("remote =", "send_cookie = \"00112233\"\nremote =", 10, "tunnels[0].send_cookie", "no key", "`send_cookie_file = \"FILE\"`"),
        ("\"server-1\"", "1", 2, "node.name", "must be a string, not a whole number", "write `name = \"1\"`"),
        ("1001", "\"1001\"", 11, "tunnels[0].session_id", "must be a whole number, not a string", "write `session_id = 1001`"),
        ("1001", "1.5", 11, "tunnels[0].session_id", "not a decimal number", "write `session_id = 1001`"),
        ("[\"10.77.0.1\"]", "\"10.77.0.1\"", 6, "underlay.addresses", "must be an array of strings", "write `addresses = [\"10.77.0.1\"]`"),
        ("[\"10.77.0.1\"]", "[\n  \"10.77.0.1\",\n  7\n]", 8, "underlay.addresses[1]", "must be a string", "write `addresses = [\"10.77.0.1\"]`"),
        (peer, "peer_session_id = 2001\nospf = \"yes\"", 13, "tunnels[0].ospf", "must be `true` or `false`", "write `ospf = true`"),
        // [node]
        ("name = \"server-1\"", "", 1, "node.name", "is missing", "add `name = \"server-1\"` below [node]"),
        ("server-1", "Server_1", 2, "node.name", "'S' cannot be in this name", "write `name = \"server-1\"`"),
        ("server-1", "", 2, "node.name", "cannot be empty", "write `name = \"server-1\"`"),
        ("server-1", "a-name-of-more-than-thirty-two-bytes", 2, "node.name", "36 bytes, at most 32", "write `name = \"a-name-of-more-than-thirty-two-b\"`"),
        ("\"server-1\"", "\"server-1\"\nrun_dir = \"run/l2ha\"", 3, "node.run_dir", "not an absolute path", "write `run_dir = \"/run/l2ha\"`"),
        ("\"server-1\"", "\"server-1\"\nbpffs = \"\"", 3, "node.bpffs", "not an absolute path", "write `bpffs = \"/sys/fs/bpf\"`"),
        ("\"server-1\"", "\"server-1\"\nrun_dir = \"/run/l2ha/and/so/on/and/so/on/and/so/on/and/so/on/and/so/on/and/so/on/and/so/on/and/so/on/and/so/on\"", 3, "node.run_dir", "at most 107", "write a shorter `run_dir = \"/run/l2ha\"`"),
        // [underlay]
        ("eth0", "ethernet-number-0", 5, "underlay.interface", "17 bytes, the kernel takes at most 15", "write `interface = \"ethernet-number\"`"),
        ("eth0", "eth 0", 5, "underlay.interface", "' ' cannot be", "write `interface = \"eth-0\"`"),
        ("eth0", "lo", 5, "underlay.interface", "leads to no other host", "write `interface = \"eth0\"`"),
        ("[\"10.77.0.1\"]", "[]", 6, "underlay.addresses", "there must be an address", "write `addresses = [\"10.77.0.1\"]`"),
        ("\"10.77.0.1\"]", "\"10.77.0.1\", \"10.77.0.2\"]", 6, "underlay.addresses[1]", "a second address of its family", "`addresses = [\"10.77.0.1\"]`"),
        ("10.77.0.1\"", "10.77.0.1/24\"", 6, "underlay.addresses[0]", "without prefix length", "write `addresses = [\"10.77.0.1\"]`"),
        ("10.77.0.1\"", "10.77.0.256\"", 6, "underlay.addresses[0]", "not an IP address", "write `addresses = [\"10.77.0.1\"]`"),
        ("10.77.0.1\"", "127.0.0.1\"", 6, "underlay.addresses[0]", "a loopback address", "write `addresses = [\"10.77.0.1\"]`"),
        ("10.77.0.1\"", "0.0.0.0\"", 6, "underlay.addresses[0]", "the unspecified address", "write `addresses = [\"10.77.0.1\"]`"),
        ("10.77.0.1\"", "::ffff:10.77.0.1\"", 6, "underlay.addresses[0]", "IPv4 written as IPv6", "write `addresses = [\"10.77.0.1\"]`"),
        ("10.77.0.1\"", "fe80::1%eth0\"", 6, "underlay.addresses[0]", "with an interface", "write `addresses = [\"10.77.0.1\"]`"),
        ("[\"10.77.0.1\"]", "[\"10.77.0.1\"]\nmode = \"xpd\"", 7, "underlay.mode", "not one of `auto`, `xdp` and `tc`", "write `mode = \"xdp\"`"),
        // [[tunnels]]
        ("\"client\"", "\"my client\"", 9, "tunnels[0].name", "' ' cannot be in this name", "write `name = \"my-client\"`"),
        ("\"client\"", "\"a-long-tunnel-name\"", 9, "tunnels[0].name", "21 bytes", "add `interface = \"l2-a-long-tunne\"`"),
        ("\"client\"", "\"client\"\ninterface = \"a/b\"", 10, "tunnels[0].interface", "'/' cannot be", "write `interface = \"a-b\"`"),
        ("\"client\"", "\"client\"\ninterface = \"eth0\"", 10, "tunnels[0].interface", "already used on line 5", "write another, as `interface = \"client\"`"),
        ("\"client\"", "\"client\"\ninterface = \"lo\"", 10, "tunnels[0].interface", "the loopback", "write another, as `interface = \"client\"`"),
        ("remote = \"10.77.0.9\"", "", 8, "tunnels[0].remote", "is missing", "add `remote = \"10.77.0.9\"` below [[tunnels]]"),
        ("10.77.0.9", "10.77.0.1", 10, "tunnels[0].remote", "this node's own address (line 6)", "write `remote = \"10.77.0.9\"`"),
        ("10.77.0.9", "2001:db8::9", 10, "tunnels[0].remote", "[underlay] has no IPv6 address", "write `addresses = [\"10.77.0.1\", \"2001:db8:77::1\"]` below [underlay]"),
        ("10.77.0.9", "224.0.0.5", 10, "tunnels[0].remote", "a multicast address", "write `remote = \"10.77.0.9\"`"),
        ("10.77.0.9", "255.255.255.255", 10, "tunnels[0].remote", "the broadcast address", "write `remote = \"10.77.0.9\"`"),
        ("10.77.0.9", "fe80::9", 10, "tunnels[0].remote", "a link-local address", "write `remote = \"10.77.0.9\"`"),
        ("10.77.0.9", "10.77.0.9:1701", 10, "tunnels[0].remote", "without port", "write `remote = \"10.77.0.9\"`"),
        ("10.77.0.9", "server.example.org", 10, "tunnels[0].remote", "not an IP address", "write `remote = \"10.77.0.9\"`"),
        ("1001", "0", 11, "tunnels[0].session_id", "0 is not in 1 to 4294967295", "write `session_id = 1001`"),
        ("= 2001", "= 4294967296", 12, "tunnels[0].peer_session_id", "is not in 1 to 4294967295", "write `peer_session_id = 4294967295`"),
        ("= 2001\n", "= -1\n", 12, "tunnels[0].peer_session_id", "-1 is not in", "write `peer_session_id = 2001`"),
        (peer, "peer_session_id = 2001\nencapsulation = \"gre\"", 13, "tunnels[0].encapsulation", "not one of `udp` and `ip`", "write `encapsulation = \"udp\"`"),
        (peer, "peer_session_id = 2001\nencapsulation = \"ip\"\nlocal_port = 1701", 14, "tunnels[0].local_port", "protocol 115 has no ports", "remove it, or write `encapsulation = \"udp\"`"),
        (peer, "peer_session_id = 2001\nremote_port = 65536", 13, "tunnels[0].remote_port", "65536 is not in 1 to 65535", "write `remote_port = 65535`"),
        (peer, "peer_session_id = 2001\nsequence = \"both\"", 13, "tunnels[0].sequence", "sequence numbers are in the default L2-specific sublayer", "write `sublayer = \"default\"` here"),
        (peer, "peer_session_id = 2001\nsublayer = \"l2\"", 13, "tunnels[0].sublayer", "not one of `none` and `default`", "write `sublayer = \"none\"`"),
        (peer, "peer_session_id = 2001\nmtu = 1279", 13, "tunnels[0].mtu", "1279 is not in 1280 to", "write `mtu = 1280`"),
        (peer, "peer_session_id = 2001\ncost = 0", 13, "tunnels[0].cost", "0 is not in 1 to 65535", "write `cost = 10`"),
        (peer, "peer_session_id = 2001\naddresses = [\"fd00::1\"]", 13, "tunnels[0].addresses[0]", "lacks its prefix length", "write `addresses = [\"fd00::1/64\"]`"),
        (peer, "peer_session_id = 2001\naddresses = [\"fd00::/64\"]", 13, "tunnels[0].addresses[0]", "is the network", "write `addresses = [\"fd00::1/64\"]`"),
        (peer, "peer_session_id = 2001\naddresses = [\"192.0.2.3/30\"]", 13, "tunnels[0].addresses[0]", "broadcast address", "write `addresses = [\"192.0.2.2/30\"]`"),
        (peer, "peer_session_id = 2001\naddresses = [\"fe80::1/64\"]", 13, "tunnels[0].addresses[0]", "makes the link-local address itself", "remove it"),
        (peer, "peer_session_id = 2001\naddresses = [\"ff02::1/64\"]", 13, "tunnels[0].addresses[0]", "a multicast address", "write `addresses = [\"fd00:1::1/64\"]`"),
        (peer, "peer_session_id = 2001\naddresses = [\"10.77.0.1/24\"]", 13, "tunnels[0].addresses[0]", "already used on line 6", "write another address"),
        (peer, "peer_session_id = 2001\naddresses = [\"fd00::1/0\"]", 13, "tunnels[0].addresses[0]", "every address is on this link", "write `addresses = [\"fd00::1/64\"]`"),
        // [ospf]
        ("router_id = \"10.0.0.1\"", "", 14, "ospf.router_id", "is missing", "add `router_id = \"10.0.0.1\"` below [ospf]"),
        ("\"10.0.0.1\"", "\"0.0.0.0\"", 15, "ospf.router_id", "no router id", "write `router_id = \"10.0.0.1\"`"),
        ("\"10.0.0.1\"", "1", 15, "ospf.router_id", "must be a string, not a whole number", "write `router_id = \"0.0.0.1\"`"),
        ("\"10.0.0.1\"", "\"1\"", 15, "ospf.router_id", "not four numbers", "write `router_id = \"0.0.0.1\"`"),
        ("\"10.0.0.1\"", "0", 15, "ospf.router_id", "must be a string, not a whole number", "write `router_id = \"10.0.0.1\"`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nbfd = 50", 16, "ospf.bfd", "must be a string, not a whole number", "write `bfd = \"50x3\"`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nbfd = \"10\"", 16, "ospf.bfd", "`10` is not milliseconds, `x` and a multiplier", "write `bfd = \"10x3\"`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nbfd = \"1x3\"", 16, "ospf.bfd", "must be 3 to 10000 milliseconds", "write `bfd = \"3x3\"`"),
        ("\"10.0.0.1\"", "\"server-1\"", 15, "ospf.router_id", "not four numbers", "write `router_id = \"10.0.0.1\"`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\narea = \"1\"", 16, "ospf.area", "not four numbers", "write `area = \"0.0.0.1\"`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nhello_interval = 5\ndead_interval = 5", 17, "ospf.dead_interval", "dead after 5 s, but is heard every 5 s", "write `dead_interval = 20`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nhello_interval = 65535", 16, "ospf.hello_interval", "65535 is not in 1 to 65534", "`hello_interval = 65534`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nhello_interval = 0", 16, "ospf.hello_interval", "0 is not in 1 to 65534", "write `hello_interval = 1`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\ncost = 70000", 16, "ospf.cost", "70000 is not in 1 to 65535", "write `cost = 65535`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\ninstance_id = 256", 16, "ospf.instance_id", "256 is not in 0 to 255", "write `instance_id = 255`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\ntable = 255", 16, "ospf.table", "the kernel's own table", "write `table = 254`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nroute_metric = 0", 16, "ospf.route_metric", "0 is not in 1 to", "write `route_metric = 20`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nredistribute = [\"conected\"]", 16, "ospf.redistribute[0]", "not one of `connected` and `static`", "write `redistribute = [\"connected\"]`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nredistribute_metric = 16777215", 16, "ospf.redistribute_metric", "is not in 0 to 16777214", "write `redistribute_metric = 16777214`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\ngraceful_restart = 1801", 16, "ospf.graceful_restart", "1801 is not in 0 to 1800", "write `graceful_restart = 1800`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\ngraceful_helper = \"no\"", 16, "ospf.graceful_helper", "must be `true` or `false`, not a string", "write `graceful_helper = false`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\naccept = [\"10.0.0.0/8 eq 9\"]", 16, "ospf.accept[0]", "`eq` where `ge` or `le` belongs", "write `accept = [\"10.0.0.0/8 le 32\"]`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\naccept_default = \"yes\"", 16, "ospf.accept_default", "must be `true` or `false`", "write `accept_default = true`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nredistribute_type = 3", 16, "ospf.redistribute_type", "3 is not in 1 to 2", "write `redistribute_type = 2`"),
        // [[ospf_areas]] and what tunnels say of areas
        (peer, "peer_session_id = 2001\narea = \"1\"", 13, "tunnels[0].area", "not four numbers", "write `area = \"0.0.0.1\"`"),
        (peer, "peer_session_id = 2001\nospf_network = \"ptp\"", 13, "tunnels[0].ospf_network", "not one of `point-to-point` and `broadcast`", "write `ospf_network = \"point-to-point\"`"),
        (peer, "peer_session_id = 2001\nospf_priority = 256", 13, "tunnels[0].ospf_priority", "256 is not in 0 to 255", "write `ospf_priority = 255`"),
        (end, "2001:db8::80\"\n[[ospf_areas]]\nstub = true\n", 20, "ospf_areas[0].area", "is missing", "add `area = \"0.0.0.1\"` below [[ospf_areas]]"),
        (end, "2001:db8::80\"\n[[ospf_areas]]\narea = \"0.0.0.0\"\nstub = true\n", 22, "ospf_areas[0].stub", "cannot be a stub area", "write another `area`"),
        (end, "2001:db8::80\"\n[[ospf_areas]]\narea = \"0.0.0.0\"\ndefault_cost = 5\n", 22, "ospf_areas[0].default_cost", "only a stub area", "add `stub = true`"),
        (end, "2001:db8::80\"\n[[ospf_areas]]\narea = \"0.0.0.0\"\n[[ospf_areas]]\narea = \"0.0.0.0\"\n", 23, "ospf_areas[1].area", "already used on line 21", "remove one of the two sections"),
        // What does not go together.
        ("[ospf]\nrouter_id = \"10.0.0.1\"", "", 16, "services[0]", "there is no [ospf]", "add a line `[ospf]`, and below it `router_id = \"10.0.0.1\"`"),
        ("= 2001\n\n[ospf]\nrouter_id = \"10.0.0.1\"\n\n[[services]]\nname = \"web\"\naddress = \"2001:db8::80\"", "= 2001\ncost = 7", 13, "tunnels[0].cost", "there is no [ospf]", "or remove this key"),
        ("= 2001\n\n[ospf]\nrouter_id = \"10.0.0.1\"\n\n[[services]]\nname = \"web\"\naddress = \"2001:db8::80\"", "= 2001\narea = \"0.0.0.1\"", 13, "tunnels[0].area", "there is no [ospf]", "or remove this key"),
        ("\n[ospf]\nrouter_id = \"10.0.0.1\"\n\n[[services]]\nname = \"web\"\naddress = \"2001:db8::80\"", "\n[[ospf_areas]]\narea = \"0.0.0.1\"", 14, "ospf_areas[0]", "there is no [ospf]", "add a line `[ospf]`"),
        (peer, "peer_session_id = 2001\nospf = false", 15, "ospf", "every tunnel has `ospf = false`", "write `ospf = true`"),
        // [[services]]
        ("2001:db8::80", "192.0.2.80/32", 19, "services[0].address", "without prefix length", "write `address = \"192.0.2.80\"`"),
        ("2001:db8::80", "169.254.1.1", 19, "services[0].address", "a link-local address", "write `address = \"2001:db8::80\"`"),
        (end, "192.0.2.80\"\n[[services]]\nname = \"dns\"\naddress = \"192.0.2.80\"\n", 22, "services[1].address", "already used on line 19", "write another `address = \"192.0.2.81\"`"),
        ("[ospf]\nrouter_id = \"10.0.0.1\"\n\n[[services]]\nname = \"web\"\naddress = \"2001:db8::80", "[ospf]\nrouter_id = \"10.0.0.1\"\nipv4 = false\n\n[[services]]\nname = \"web\"\naddress = \"192.0.2.80", 20, "services[0].address", "but `ipv4 = false` in [ospf]", "write `ipv4 = true` there"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\ninstance_id = 65", 16, "ospf.instance_id", "another address family than IPv6", "and `ipv4_instance_id = 65` for IPv4"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nipv4_instance_id = 0", 16, "ospf.ipv4_instance_id", "0 is not in 64 to 95", "write `ipv4_instance_id = 64`"),
        ("\"10.0.0.1\"", "\"10.0.0.1\"\nipv4 = 64", 16, "ospf.ipv4", "must be `true` or `false`", "write `ipv4 = true`"),
        ("2001:db8::80", "2001:db8::80/128", 19, "services[0].address", "without prefix length", "write `address = \"2001:db8::80\"`"),
        ("2001:db8::80", "fe80::80", 19, "services[0].address", "a link-local address", "write `address = \"2001:db8::80\"`"),
        ("2001:db8::80", "::1", 19, "services[0].address", "a loopback address", "write `address = \"2001:db8::80\"`"),
        (end, "2001:db8::80\"\nmetric = 65536\n", 20, "services[0].metric", "65536 is not in 0 to 65535", "write `metric = 65535`"),
        (end, "2001:db8::80\"\n[[services]]\nname = \"web\"\naddress = \"2001:db8::81\"\n", 21, "services[1].name", "already used on line 18", "write another, as `name = \"web-2\"`"),
        (end, "2001:db8::80\"\n[[services]]\nname = \"dns\"\naddress = \"2001:DB8:0::80\"\n", 22, "services[1].address", "already used on line 19", "write another `address = \"2001:db8::81\"`"),
        // Checks.
        (end, "2001:db8::80\"\ncheck = \"tcp\"\n", 20, "services[0].check", "must be a table, not a string", "write `check = { tcp = \"[2001:db8::80]:80\" }`"),
        (end, "2001:db8::80\"\ncheck = []\n", 20, "services[0].check", "is empty", "remove it, or write `check = {"),
        (end, "2001:db8::80\"\ncheck = [7]\n", 20, "services[0].check[0]", "must be a table, not a whole number", "write `check = {"),
        (end, "2001:db8::80\"\ncheck = {}\n", 20, "services[0].check", "one of `tcp`, `http`, `exec` and `unit`", "add `tcp = \"[2001:db8::80]:80\"`"),
        (end, "2001:db8::80\"\n[services.check]\nhtpp = \"http://[::1]/\"\n", 21, "services[0].check.htpp", "no key `htpp`", "did you mean `http`?"),
        (end, "2001:db8::80\"\n[[services.check]]\ntcp = \"[::1]:80\"\nexec = [\"/bin/a\"]\n", 22, "services[0].check[0].exec", "`tcp` and `exec` are two checks", "write a table for each"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"2001:db8::80\" }\n", 20, "services[0].check.tcp", "not an address with a port", "write `tcp = \"[2001:db8::80]:80\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"10.0.0.1\" }\n", 20, "services[0].check.tcp", "not an address with a port", "write `tcp = \"10.0.0.1:80\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"localhost:80\" }\n", 20, "services[0].check.tcp", "not an address with a port", "write `tcp = \"[2001:db8::80]:80\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::]:80\" }\n", 20, "services[0].check.tcp", "no host can be reached", "write `tcp = \"[2001:db8::80]:80\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:0\" }\n", 20, "services[0].check.tcp", "port 0 is no port", "write `tcp ="),
        (end, "2001:db8::80\"\ncheck = { http = \"[2001:db8::80]/\" }\n", 20, "services[0].check.http", "neither with http:// nor with https://", "write `http = \"http://[2001:db8::80]/\"`"),
        (end, "2001:db8::80\"\ncheck = { http = \"http://2001:db8::80/\" }\n", 20, "services[0].check.http", "an IPv6 address stands in brackets", "write `http ="),
        (end, "2001:db8::80\"\ncheck = { http = \"http://[::1\" }\n", 20, "services[0].check.http", "the bracket ] is missing", "write `http ="),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a:b@[::1]/\" }\n", 20, "services[0].check.http", "a password does not belong", "write `http ="),
        (end, "2001:db8::80\"\ncheck = { http = \"http:///index\" }\n", 20, "services[0].check.http", "it names no host", "write `http ="),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a:65536/\" }\n", 20, "services[0].check.http", "its port is not in 1 to 65535", "write `http ="),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a/b c\" }\n", 20, "services[0].check.http", "written with %", "write `http ="),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a/#b\" }\n", 20, "services[0].check.http", "never sent", "write `http ="),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a/\", status = 200 }\n", 20, "services[0].check.status", "must be a string, not a whole number", "write `status = \"200\"`"),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a/\", status = \"2xx\" }\n", 20, "services[0].check.status", "no status, and no range", "write `status = \"200-399\"`"),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a/\", status = \"299-200\" }\n", 20, "services[0].check.status", "no status, and no range", "write `status ="),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a/\", body = \"\" }\n", 20, "services[0].check.body", "no text is in every answer", "remove it"),
        (end, "2001:db8::80\"\ncheck = { http = \"http://a/\", verify = \"nothing\" }\n", 20, "services[0].check.verify", "with https only", "remove it"),
        (end, "2001:db8::80\"\ncheck = { http = \"https://a/\", verify = \"nothin\" }\n", 20, "services[0].check.verify", "not one of `certificate` and `nothing`", "write `verify = \"nothing\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:80\", body = \"ok\" }\n", 20, "services[0].check.body", "about the answer of `http`, but this is `tcp`", "remove it"),
        (end, "2001:db8::80\"\ncheck = { exec = \"/bin/true\" }\n", 20, "services[0].check.exec", "must be an array of strings", "write `exec = [\"/bin/true\"]`"),
        (end, "2001:db8::80\"\ncheck = { exec = [] }\n", 20, "services[0].check.exec", "there must be a program", "write `exec = [\"/usr/local/bin/check-web\"]`"),
        (end, "2001:db8::80\"\ncheck = { exec = [\"curl\", \"-f\"] }\n", 20, "services[0].check.exec[0]", "not an absolute path", "no PATH is searched"),
        (end, "2001:db8::80\"\ncheck = { exec = [\"/bin/a\", \"\\u0000\"] }\n", 20, "services[0].check.exec[1]", "ends a text for programs", "remove it"),
        (end, "2001:db8::80\"\ncheck = { unit = \"nginx\" }\n", 20, "services[0].check.unit", "does not end with `.service`", "write `unit = \"nginx.service\"`"),
        (end, "2001:db8::80\"\ncheck = { unit = \"nginx.servise\" }\n", 20, "services[0].check.unit", "does not end with `.service`", "write `unit = \"nginx.service\"`"),
        (end, "2001:db8::80\"\ncheck = { unit = \"a b.service\" }\n", 20, "services[0].check.unit", "no name of a unit", "write `unit = \"nginx.service\"`"),
        (end, "2001:db8::80\"\ncheck = { unit = \"getty@.service\" }\n", 20, "services[0].check.unit", "a template is never active", "write `unit = \"nginx.service\"`"),
        (end, "2001:db8::80\"\ncheck = { unit = \"a.service\", status = \"200\" }\n", 20, "services[0].check.status", "about the answer of `http`, but this is `unit`", "remove it"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:80\", interval = 2 }\n", 20, "services[0].check.interval", "must be a string, not a whole number", "write `interval = \"2s\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:80\", interval = \"100\" }\n", 20, "services[0].check.interval", "not a number with `ms` or `s`", "write `interval = \"100s\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:80\", interval = \"20ms\" }\n", 20, "services[0].check.interval", "not in 50ms to 3600s", "write `interval = \"50ms\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:80\", timeout = \"2 min\" }\n", 20, "services[0].check.timeout", "not a number with `ms` or `s`", "write `timeout = \"60s\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:80\", timeout = \"61s\" }\n", 20, "services[0].check.timeout", "not in 10ms to 60s", "write `timeout = \"60s\"`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:80\", fall = 0 }\n", 20, "services[0].check.fall", "0 is not in 1 to 100", "write `fall = 2`"),
        (end, "2001:db8::80\"\ncheck = { tcp = \"[::1]:80\", rise = 101 }\n", 20, "services[0].check.rise", "101 is not in 1 to 100", "write `rise = 100`"),
        (end, "2001:db8::80\"\nwhen_failed = \"withdrawn\"\n", 20, "services[0].when_failed", "not one of `last-resort` and `withdraw`", "write `when_failed = \"withdraw\"`"),
        (end, "2001:db8::80\"\non_change = [\"mail\"]\n", 20, "services[0].on_change[0]", "not an absolute path", "write `on_change = ["),
        (peer, "peer_session_id = 2001\naddresses = [\"2001:db8::80/64\"]", 20, "services[0].address", "already used on line 13", "remove one of the two"),
    ]
}

#[test]
fn each_mistake_is_found_alone_with_line_and_remedy() {
    let mistakes = mistakes();
    assert!(mistakes.len() >= 30);
    let mut wrong = Vec::new();
    for (old, new, line, key, what, remedy) in mistakes {
        assert_eq!(
            GOOD.matches(old).count(),
            1,
            "`{old}` must be in the good file once"
        );
        let result = load(&GOOD.replace(old, new));
        wrong.extend(
            compare(&result, line, key, what, remedy)
                .err()
                .map(|why| format!("`{new}`: {why}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_mistake_of_a_second_tunnel_is_found() {
    let mut wrong = Vec::new();
    for (old, new, line, key, what, remedy) in [
        (
            "name = \"server-2\"",
            "name = \"client\"\ninterface = \"x\"",
            22,
            "tunnels[1].name",
            "already used on line 9",
            "`name = \"client-2\"`",
        ),
        (
            "name = \"server-2\"",
            "name = \"client\"",
            22,
            "tunnels[1].name",
            "already used on line 9",
            "`name = \"client-2\"`",
        ),
        (
            "1002",
            "1001",
            24,
            "tunnels[1].session_id",
            "already used on line 11",
            "write another, as `session_id = 1002`",
        ),
        (
            "10.77.0.2\"\nsession_id = 1002\npeer_session_id = 3001",
            "10.77.0.9\"\nsession_id = 1002\npeer_session_id = 2001",
            25,
            "tunnels[1].peer_session_id",
            "2001 at 10.77.0.9:1701` is already used on line 12",
            "`peer_session_id = 2002`",
        ),
        (
            "\"server-2\"",
            "\"server-2\"\ninterface = \"l2-client\"",
            23,
            "tunnels[1].interface",
            "already used on line 9",
            "`interface = \"server-2\"`",
        ),
        (
            "\"server-2\"",
            "\"server-2\"\ninterface = \"l2h-client\"",
            23,
            "tunnels[1].interface",
            "(its hidden end)",
            "`interface = \"server-2\"`",
        ),
        (
            "\"server-2\"",
            "\"server-2\"\ninterface = \"client\"",
            23,
            "tunnels[1].interface (its hidden end)",
            "`l2h-client` is already used on line 9",
            "`interface = \"server-2\"`",
        ),
    ] {
        let result = load(&format!("{GOOD}{SECOND}").replace(old, new));
        wrong.extend(
            compare(&result, line, key, what, remedy)
                .err()
                .map(|why| format!("`{new}`: {why}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the result is just this mistake.
fn compare(
    result: &Result<Config, ConfigErrors>,
    line: usize,
    key: &str,
    what: &str,
    remedy: &str,
) -> Result<(), String> {
    let errors = result.as_ref().err().ok_or("was accepted")?;
    let [error] = errors.errors() else {
        return Err(format!("is one mistake, not\n{errors}"));
    };
    let start = format!("{}:{line}:", errors.file().display());
    let good = (error.line, error.key.as_str()) == (Some(line), key)
        && error.what.contains(what)
        && error.remedy.contains(remedy)
        && errors.to_string().starts_with(&start);
    good.then_some(()).ok_or(format!(
        "line {line}: {key}: ..{what}..; ..{remedy}..\n is not: {errors}"
    ))
}

pub(super) fn expect(
    result: &Result<Config, ConfigErrors>,
    line: usize,
    key: &str,
    what: &str,
    remedy: &str,
    of: &str,
) {
    if let Err(why) = compare(result, line, key, what, remedy) {
        panic!("`{of}`: {why}");
    }
}
