//! What stands in a host's kernel, as lines that can be compared: links, addresses, routes,
//! attached programs, queueing disciplines, and pins below bpffs.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::ns::Namespace;

/// The state of a host at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at a namespace and at the pins below a folder.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked.
    pub fn take(ns: &Namespace, pins: &Path) -> Result<Self> {
        let mut lines = BTreeSet::new();
        let mut add = |kind: &str, list: &Value, keys: &[&str]| {
            for item in list.as_array().into_iter().flatten() {
                let mut line = kind.to_owned();
                for key in keys {
                    let value = &item[*key];
                    if !value.is_null() {
                        line.push_str(&format!(" {key}={value}"));
                    }
                }
                lines.insert(line);
            }
        };
        let links = ns.ip_json(&["link"])?;
        add(
            "link",
            &links,
            &["ifindex", "ifname", "link", "address", "mtu", "operstate"],
        );
        for link in ns.ip_json(&["addr"])?.as_array().into_iter().flatten() {
            add(
                &format!("address on {}", link["ifname"]),
                &link["addr_info"],
                &["family", "local", "prefixlen", "scope"],
            );
        }
        for family in ["-4", "-6"] {
            let routes = ns.ip_json(&[family, "route", "show", "table", "all"])?;
            add(
                &format!("route {family}"),
                &routes,
                &[
                    "type", "dst", "dev", "gateway", "via", "nexthops", "protocol", "metric",
                    "table",
                ],
            );
        }
        let qdiscs = ns.run(["tc", "-j", "qdisc", "show"])?;
        add(
            "qdisc",
            &serde_json::from_str(&qdiscs).context(qdiscs.clone())?,
            &["dev", "kind", "parent"],
        );
        for program in attached(ns)? {
            lines.insert(format!(
                "program on {} at {}: {}",
                program.device, program.place, program.name
            ));
        }
        walk(pins, &mut lines)?;
        Ok(Self { lines })
    }

    /// What is there in `self` only (`-`) and in `later` only (`+`), a line each.
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let gone = self.lines.difference(&later.lines);
        let come = later.lines.difference(&self.lines);
        gone.map(|line| format!("- {line}"))
            .chain(come.map(|line| format!("+ {line}")))
            .collect()
    }

    /// The lines that contain a text.
    pub fn with(&self, text: &str) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| line.contains(text))
            .map(String::as_str)
            .collect()
    }
}

fn walk(folder: &Path, lines: &mut BTreeSet<String>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    lines.insert(format!("pin folder {}", folder.display()));
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, lines)?;
        } else {
            lines.insert(format!("pin {}", path.display()));
        }
    }
    Ok(())
}

/// A BPF program attached to an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The interface.
    pub device: String,
    /// Where on it, in bpftool's words: `driver` (native XDP), `tcx/egress`, `clsact/ingress` ...
    pub place: String,
    /// The program's name.
    pub name: String,
    /// The program's id, unlike any other's on the machine.
    pub id: u64,
}

/// The programs attached to a namespace's interfaces.
///
/// # Errors
///
/// When bpftool is not installed or is not understood.
pub fn attached(ns: &Namespace) -> Result<Vec<Attached>> {
    let text = ns.run(["bpftool", "-j", "net", "show"])?;
    let answer: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let mut found = Vec::new();
    for hooks in answer.as_array().context("bpftool net: no list")? {
        for (kind, place) in [("xdp", "mode"), ("tc", "kind")] {
            for item in hooks[kind].as_array().into_iter().flatten() {
                let id = item["prog_id"].as_u64().or_else(|| item["id"].as_u64());
                let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
                found.push(Attached {
                    device: text("devname"),
                    place: text(place),
                    name: text("name"),
                    id: id.with_context(|| format!("no id in {item}"))?,
                });
            }
        }
    }
    Ok(found)
}
