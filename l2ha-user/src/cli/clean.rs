//! `l2ha clean`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use config::{DEFAULT_BPFFS, DEFAULT_FILE, DEFAULT_RUN_DIR, Node};
use node::Cleaned;
use serde_json::json;

use super::{FAILED, FINE, output};

/// Remove what daemons have left on this host that do not run any more
///
/// A daemon that was killed, or ended with SIGUSR1, leaves interfaces, addresses and programs to its next start. Where
/// there will be none, this removes them, and says what it was: veth pairs, addresses on lo, programs on the underlay, pins,
/// and files in the run folder. Nodes whose daemons run are left alone, with everything that they have made. It works in the
/// network namespace in which it is called.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha clean --dry-run
  l2ha clean
  l2ha clean --node old-name
  l2ha clean --json | jq -r '.nodes[].left[]'

Exit status: 0 fine, 1 a daemon runs and was left alone, or something could not be removed.")]
pub(super) struct Clean {
    /// Configuration file whose [node] says which folders the nodes use [default: /etc/l2ha/l2ha.toml, or the usual
    /// folders where that is missing]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only this node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Clean {
    pub(super) fn main(self) -> Result<u8> {
        let node = folders(self.config.as_deref())?;
        let only = self.node.as_deref();
        let all = node::clean(&node, only, self.dry_run)?;
        if let (Some(name), []) = (only, &all[..])
            && !self.json
        {
            bail!("node {name} has left nothing here that is known: see `l2ha clean --dry-run`");
        }
        if self.json {
            output::json(&json!({ "version": 1, "removed": !self.dry_run, "nodes": all }))?;
        } else {
            output::line(&text(&all, self.dry_run))?;
        }
        Ok(match all.iter().any(|node| node.running) {
            true => FAILED,
            false => FINE,
        })
    }
}

/// The node of a configuration, for its folders.
fn folders(config: Option<&Path>) -> Result<Node> {
    let default = Path::new(DEFAULT_FILE);
    match config {
        Some(config) => Ok(Node::load(config, &node::who(None)?)?),
        None if default.exists() => Ok(Node::load(default, &node::who(None)?)?),
        None => Ok(Node {
            name: String::new(),
            run_dir: DEFAULT_RUN_DIR.into(),
            bpffs: DEFAULT_BPFFS.into(),
        }),
    }
}

fn text(all: &[Cleaned], dry_run: bool) -> String {
    let mut lines = Vec::new();
    for node in all {
        let name = &node.node;
        if node.running {
            lines.push(format!(
                "{name}: its daemon runs, left alone; stop it, which removes all"
            ));
            continue;
        }
        lines.push(match (node.left.is_empty(), dry_run) {
            (true, _) => format!("{name}: nothing is left"),
            (false, true) => format!("{name}: would remove"),
            (false, false) => format!("{name}: removed"),
        });
        lines.extend(node.left.iter().map(|what| format!("  {what}")));
    }
    if lines.is_empty() {
        lines.push("nothing is left here of daemons that do not run".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_said_with_what_it_left() {
        let ended = Cleaned {
            node: "old".to_owned(),
            running: false,
            left: vec!["interface l2-client".to_owned()],
        };
        let runs = Cleaned {
            node: "server-1".to_owned(),
            running: true,
            left: Vec::new(),
        };
        let all = [ended, runs];
        assert_eq!(
            text(&all, false),
            "old: removed\n  interface l2-client\n\
             server-1: its daemon runs, left alone; stop it, which removes all"
        );
        assert!(text(&all, true).starts_with("old: would remove\n"));
        assert_eq!(
            text(&[], false),
            "nothing is left here of daemons that do not run"
        );
    }
}
