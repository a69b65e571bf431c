//! The Debian packages that the tests and the live run need, and what for: the one list.

/// A package and its purpose.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name in Debian.
    pub name: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
}

const fn package(name: &'static str, purpose: &'static str) -> Package {
    Package { name, purpose }
}

/// Everything that has to be there, in the order it is installed.
pub const PACKAGES: &[Package] = &[
    package(
        "iproute2",
        "namespaces, links, routes and policy rules of the lab (ip, ss, tc)",
    ),
    package(
        "ethtool",
        "switching off the checksum offload that native XDP on veth trips over",
    ),
    package("nftables", "a firewall that drops by default"),
    package("tcpdump", "packet captures, kept when a scenario fails"),
    package(
        "tshark",
        "a second opinion on every packet: L2TPv3 and OSPF dissected, checksums checked",
    ),
    package("frr", "ospf6d, a real OSPFv3 neighbour"),
    package("bird2", "BIRD, another one"),
    package(
        "bpftool",
        "taking programs away behind the daemon's back, and looking at them",
    ),
    package(
        "qemu-system-x86",
        "a virtual machine whose own kernel is the other end of our pseudowires",
    ),
    package(
        "busybox-static",
        "the virtual machine's small tools; ping on both sides",
    ),
    package(
        "xz-utils",
        "the modules of newer kernels, which are compressed",
    ),
    package("zstd", "the newest kernels themselves, likewise"),
    package("g++", "libFuzzer, which is C++"),
    package("iperf3", "TCP throughput in cargo xtask bench"),
    package("iputils-ping", "pings through the data plane's own tests"),
    package(
        "openssl",
        "a web server with certificates, good and bad, for checks by https",
    ),
    package(
        "systemd",
        "a systemd of the tests' own, for checks of its units",
    ),
    package("dbus", "the bus over which that is asked"),
    package(
        "python3",
        "a second program that derives a cluster's values, from the page alone",
    ),
    package("etcd-server", "etcd, where nodes that join are registered"),
    package(
        "etcd-client",
        "its own command, for users, backups and compaction",
    ),
];
