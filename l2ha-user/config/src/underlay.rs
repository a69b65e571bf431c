//! `[node]` and `[underlay]`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use l2ha_ebpf::plan::AttachMode;

use crate::{
    address::{self, Shown},
    names,
    report::Found,
    section::Section,
    types::{DEFAULT_BPFFS, DEFAULT_RUN_DIR, Node, Underlay},
};

/// Longest path of a Unix socket in bytes (`sockaddr_un`, less the final zero).
const LONGEST_SOCKET: usize = 107;

/// Reads `[node]`.
pub(crate) fn node(section: &Section<'_>) -> Option<Node> {
    let corrected = |text: &str| names::corrected(text, names::LONGEST_NAME, names::node_problem);
    let name = section.text_or("name", corrected).and_then(|found| {
        let Some(problem) = names::node_problem(found.value) else {
            return Some(found);
        };
        let good = corrected(found.value).unwrap_or_else(|| "server-1".to_owned());
        section
            .report
            .error(&found.place, problem, format!("write `name = \"{good}\"`"));
        None
    });
    let run_dir = folder(section, "run_dir", DEFAULT_RUN_DIR);
    let bpffs = folder(section, "bpffs", DEFAULT_BPFFS);
    let node = Node {
        name: name.as_ref()?.value.to_owned(),
        run_dir: run_dir?,
        bpffs: bpffs?,
    };
    let socket = node.socket();
    let length = socket.as_os_str().len();
    if length > LONGEST_SOCKET {
        section.report.error(
            &section.place_of("run_dir").unwrap_or(name?.place),
            format!(
                "the control socket would be {}: {length} bytes, the kernel takes at most \
                 {LONGEST_SOCKET}",
                socket.display()
            ),
            format!("write a shorter `run_dir = \"{DEFAULT_RUN_DIR}\"`"),
        );
        return None;
    }
    Some(node)
}

/// `addresses` of `[node]`: those of this node alone, at most one of a family.
pub(crate) fn own_addresses(section: &Section<'_>, has_ospf: bool) -> Vec<Found<IpAddr>> {
    let key = "addresses";
    let shown = Shown {
        key,
        array: true,
        example: "fd00:a::1",
        of: "this node",
    };
    if let Some(place) = section.place_of(key).filter(|_| !has_ospf) {
        section.report.error(
            &place,
            "OSPF advertises these addresses, but there is no [ospf]",
            "remove it, or add a section `[ospf]`",
        );
        return Vec::new();
    }
    let is_good = |text: &str| text.parse().is_ok_and(address::is_host);
    let written = section.strings(key, is_good);
    let written = written.map_or_else(Vec::new, |written| written.good);
    let addresses = written
        .iter()
        .filter_map(|text| address::global(section.report, text, &shown));
    one_of_each_family(section, addresses, &shown)
}

/// Reports every address whose family another one has.
fn one_of_each_family(
    section: &Section<'_>,
    addresses: impl Iterator<Item = Found<IpAddr>>,
    shown: &Shown<'_>,
) -> Vec<Found<IpAddr>> {
    let mut taken: Vec<Found<IpAddr>> = Vec::new();
    for address in addresses {
        let same_family = |other: &&Found<IpAddr>| other.value.is_ipv4() == address.value.is_ipv4();
        if let Some(first) = taken.iter().find(same_family) {
            section.report.error(
                &address.place,
                format!(
                    "`{}` is a second address of its family, beside `{}`",
                    address.value, first.value
                ),
                format!("keep one of each family: {}", shown.write(first.value)),
            );
            continue;
        }
        taken.push(address);
    }
    taken
}

/// An absolute path.
fn folder(section: &Section<'_>, key: &str, default: &str) -> Option<PathBuf> {
    if section.place_of(key).is_none() {
        return Some(PathBuf::from(default));
    }
    let found = section.string(key)?;
    if Path::new(found.value).is_absolute() {
        return Some(PathBuf::from(found.value));
    }
    let good = match found.value.trim_start_matches(['.', '/']) {
        "" => default.to_owned(),
        relative => format!("/{relative}"),
    };
    section.report.error(
        &found.place,
        format!("`{}` is not an absolute path", found.value),
        format!("write `{key} = \"{good}\"`"),
    );
    None
}

/// `[underlay]` as far as it could be read.
pub(crate) struct ReadUnderlay {
    /// The interface's name.
    pub(crate) interface: Option<Found<String>>,
    /// The addresses that are good.
    pub(crate) addresses: Vec<Found<IpAddr>>,
    /// Whether these are all.
    pub(crate) complete: bool,
    mode: AttachMode,
}

impl ReadUnderlay {
    /// The local address of the remote's family.
    pub(crate) fn local_for(&self, remote: IpAddr) -> Option<&Found<IpAddr>> {
        self.addresses
            .iter()
            .find(|address| address.value.is_ipv4() == remote.is_ipv4())
    }

    /// The whole, if it could be read.
    pub(crate) fn value(self) -> Option<Underlay> {
        Some(Underlay {
            interface: self.interface?.value,
            addresses: self
                .addresses
                .into_iter()
                .map(|found| found.value)
                .collect(),
            mode: self.mode,
        })
    }
}

pub(crate) fn underlay(section: &Section<'_>) -> ReadUnderlay {
    let modes = [
        ("auto", AttachMode::Auto),
        ("xdp", AttachMode::Xdp),
        ("tc", AttachMode::Tc),
    ];
    let before = section.report.count();
    let addresses = addresses(section);
    let complete = section.place_of("addresses").is_some() && section.report.count() == before;
    let interface = interface(section, "interface");
    if let Some(found) = interface.as_ref().filter(|found| found.value == "lo") {
        section.report.error(
            &found.place,
            "the loopback leads to no other host",
            "write `interface = \"eth0\"`, with the interface that has the addresses",
        );
    }
    ReadUnderlay {
        interface,
        addresses,
        complete,
        mode: section.choice("mode", &modes).unwrap_or_default(),
    }
}

/// The name of an interface.
pub(crate) fn interface(section: &Section<'_>, key: &str) -> Option<Found<String>> {
    let found = section.string(key)?;
    let Some(problem) = names::problem(found.value) else {
        return Some(found.with(found.value.to_owned()));
    };
    let good = names::corrected(found.value, names::LONGEST, names::problem);
    let good = good.map_or_else(
        || section.example(key).to_owned(),
        |good| format!("\"{good}\""),
    );
    section
        .report
        .error(&found.place, problem, format!("write `{key} = {good}`"));
    None
}

fn addresses(section: &Section<'_>) -> Vec<Found<IpAddr>> {
    let key = "addresses";
    let is_good = |text: &str| text.parse().is_ok_and(address::is_host);
    let Some(written) = section.strings(key, is_good) else {
        return Vec::new();
    };
    let shown = Shown {
        key,
        array: true,
        example: "10.77.0.1",
        of: "this host",
    };
    if written.empty {
        section.report.error(
            &written.place,
            "there must be an address that tunnels can use",
            shown.write(shown.example),
        );
    }
    let addresses = written
        .good
        .iter()
        .filter_map(|text| address::host(section.report, text, &shown));
    one_of_each_family(section, addresses, &shown)
}
