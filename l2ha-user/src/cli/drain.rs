//! `l2ha drain`.

use anyhow::Result;
use control::Command;
use serde_json::Value;

use super::{FINE, output, socket::Daemon};

/// Have others take over what this node serves, while it goes on
///
/// The node tells its neighbours that it is the last resort: they send nothing through it, and what is
/// sent to its anycast addresses goes to others that hold them. It goes on answering, so nothing is
/// lost, and its addresses stay reachable where nobody else has them. That lasts over reloads and
/// restarts, until `--off` or a clean stop.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha drain
  l2ha drain --off
  l2ha drain --json | jq .drained
  l2ha status | head -1")]
pub(super) struct Drain {
    #[command(flatten)]
    daemon: Daemon,
    /// Serve again
    #[arg(long)]
    off: bool,
    /// Print the daemon's JSON
    #[arg(long)]
    json: bool,
}

impl Drain {
    pub(super) fn main(self) -> Result<u8> {
        let answer = self.daemon.ask(Command::Drain { on: !self.off })?;
        if self.json {
            output::json(&answer)?;
        } else {
            output::line(&text(&answer))?;
        }
        Ok(FINE)
    }
}

fn text(answer: &Value) -> String {
    let node = answer["node"].as_str().unwrap_or("?");
    let changed = answer["changed"].as_bool() == Some(true);
    match (answer["drained"].as_bool() == Some(true), changed) {
        (true, true) => format!(
            "{node}: drained; others take over within two seconds, and it is the last resort until \
             `l2ha drain --off`"
        ),
        (true, false) => format!("{node}: is drained already"),
        (false, true) => format!("{node}: serves again"),
        (false, false) => format!("{node}: is not drained"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_says_what_has_changed() {
        let say = |drained, changed| {
            text(&json!({ "node": "server-1", "drained": drained, "changed": changed }))
        };
        assert!(say(true, true).starts_with("server-1: drained; others take over"));
        assert_eq!(say(true, false), "server-1: is drained already");
        assert_eq!(say(false, true), "server-1: serves again");
        assert_eq!(say(false, false), "server-1: is not drained");
    }
}
