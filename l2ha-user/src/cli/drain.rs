//! `l2ha drain`.

use anyhow::Result;
use control::{Command, Drained};

use super::socket::{Daemon, Show};

/// Have others take over what this node serves, or one of its services, while it goes on
///
/// The node tells its neighbours that it is the last resort: they send nothing through it, and what is
/// sent to its anycast addresses goes to others that hold them. It goes on answering, so nothing is
/// lost, and its addresses stay reachable where nobody else has them. That lasts over reloads and
/// restarts, until `--off` or a clean stop. With `--service` only the address of that service is the last
/// resort.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha drain
  l2ha drain --off
  l2ha drain --service web
  l2ha drain --json | jq .drained
  l2ha status | head -1")]
pub(super) struct Drain {
    #[command(flatten)]
    daemon: Daemon,
    /// Serve again
    #[arg(long)]
    off: bool,
    /// Only this service of the node
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Print the daemon's JSON
    #[arg(long)]
    json: bool,
}

impl Drain {
    pub(super) fn main(self) -> Result<u8> {
        let Self {
            daemon,
            off,
            service,
            json,
        } = self;
        let command = |returns| Command::Drain {
            on: !off,
            service,
            returns,
        };
        Show { daemon, json }.print(command, text)
    }
}

fn text(answer: &Drained) -> String {
    let node = &answer.node;
    if let Some(service) = &answer.service {
        return match (answer.drained, answer.changed) {
            (true, true) => format!(
                "{node}: service {service} is drained; others take over, and this node is its last \
                 resort until `l2ha drain --service {service} --off`"
            ),
            (true, false) => format!("{node}: service {service} is drained already"),
            (false, true) => format!("{node}: serves {service} again"),
            (false, false) => format!("{node}: service {service} is not drained"),
        };
    }
    match (answer.drained, answer.changed) {
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
    use super::*;

    #[test]
    fn it_says_what_has_changed() {
        let of = |service: Option<&str>, drained, changed| {
            text(&Drained {
                node: "server-1".to_owned(),
                service: service.map(str::to_owned),
                drained,
                changed,
            })
        };
        let say = |drained, changed| of(None, drained, changed);
        assert!(of(Some("web"), true, true).starts_with("server-1: service web is drained;"));
        assert_eq!(of(Some("web"), false, true), "server-1: serves web again");
        assert!(say(true, true).starts_with("server-1: drained; others take over"));
        assert_eq!(say(true, false), "server-1: is drained already");
        assert_eq!(say(false, true), "server-1: serves again");
        assert_eq!(say(false, false), "server-1: is not drained");
    }
}
