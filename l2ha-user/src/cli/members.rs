//! `l2ha members`, and what changes them: `join`, `leave`, `forget` and `accept`.

mod accept;
mod forget;
mod join;
mod leave;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use config::Membership;
use control::{Command, Member, MemberState};
use serde_json::json;

use super::{
    FINE, output,
    socket::Daemon,
    table::{self, cell},
};

pub(super) use self::{accept::Accept, forget::Forget, join::Join, leave::Leave};

/// The configuration file of the commands that ask etcd themselves.
#[derive(Debug, clap::Args)]
struct Etcd {
    /// Configuration file, whose [membership] says where etcd is
    #[arg(long = "config", value_name = "FILE", default_value = config::DEFAULT_FILE)]
    path: PathBuf,
    /// How many seconds etcd may be away before that is a failure
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    timeout: u64,
}

impl Etcd {
    fn membership(&self) -> Result<Membership> {
        Ok(Membership::load(&self.path)?)
    }

    const fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}

/// Show the nodes that joined the cluster
///
/// Each with its role, addresses and services, and how it is: present, absent (its tunnels stay), or leaving (it waits
/// for `l2ha accept`, because so many go at once). Below them, those that etcd has and that are no part of the cluster,
/// and why. Without a daemon here the list is shown from which the next one starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha members
  l2ha members --json | jq '.members[] | select(.state != \"present\") | .name'
  l2ha members --stored --config /etc/l2ha/l2ha.toml")]
pub(super) struct Members {
    #[command(flatten)]
    daemon: Daemon,
    /// Show the list on the disk, and ask no daemon
    #[arg(long, requires = "config")]
    stored: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Members {
    pub(super) fn main(self) -> Result<u8> {
        if self.stored
            && let Some(path) = self.daemon.config()
        {
            let membership = Membership::load(path)?;
            let members = node::members(&membership::stored(&membership.state_dir)?);
            match self.json {
                true => output::json(&json!({ "members": members }))?,
                false => output::line(&list(&members))?,
            }
            return Ok(FINE);
        }
        let reply = self.daemon.ask(Command::Members)?;
        match self.json {
            true => output::json(&reply.json)?,
            false => output::line(&text(reply.data()?.as_ref()))?,
        }
        Ok(FINE)
    }
}

fn text(membership: Option<&control::Membership>) -> String {
    let Some(membership) = membership else {
        return "the configuration has no [membership]: nodes are those of the file".to_owned();
    };
    let since = membership.since_ms / 1000;
    let mut text = match (&membership.connected, &membership.away) {
        (Some(url), _) => format!(
            "etcd: {url}, revision {}, for {since} s\n",
            membership.revision
        ),
        (None, Some(why)) => format!("etcd: away for {since} s: {why}\n"),
        (None, None) => "etcd: not reached yet\n".to_owned(),
    };
    text.push_str(&list(&membership.members));
    for refused in &membership.refused {
        text.push_str(&format!(
            "\nnot taken: {}: {}",
            refused.name, refused.reason
        ));
    }
    text
}

fn list(members: &[Member]) -> String {
    if members.is_empty() {
        return "nobody has joined".to_owned();
    }
    let mut table = table::new(&["name", "role", "addresses", "services", "state"]);
    for member in members {
        let addresses: Vec<String> = member.addresses.iter().map(ToString::to_string).collect();
        let state = match (member.state, member.absent_since) {
            (MemberState::Absent, Some(since)) => format!("absent since {}", time(since)),
            (state, _) => state.name().to_owned(),
        };
        let services = match member.services.is_empty() {
            true => "-".to_owned(),
            false => member.services.join(" "),
        };
        table.add_row([
            cell(&member.name),
            cell(&member.role),
            addresses.join(" "),
            services,
            state,
        ]);
    }
    table::text(&mut table)
}

/// How long ago that was, for people.
fn time(seconds: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ago = now.unwrap_or_default().as_secs().saturating_sub(seconds);
    match ago {
        0..120 => format!("{ago} s ago"),
        120..7200 => format!("{} min ago", ago / 60),
        7200..172_800 => format!("{} h ago", ago / 3600),
        _ => format!("{} days ago", ago / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use control::RefusedMember;

    use super::*;

    #[test]
    fn everybody_has_a_line() {
        let member = |name: &str, state, services: &[&str]| Member {
            name: name.to_owned(),
            role: "server".to_owned(),
            addresses: vec!["10.0.0.4".parse().unwrap()],
            services: services.iter().map(|it| (*it).to_owned()).collect(),
            state,
            absent_since: None,
        };
        let membership = control::Membership {
            connected: Some("https://10.0.0.5:2379".to_owned()),
            away: None,
            since_ms: 61_000,
            retries: 0,
            revision: 712,
            registration: "fine".to_owned(),
            own_problem: None,
            unwritten: None,
            members: vec![
                member("web-1", MemberState::Present, &["web"]),
                member("web-2", MemberState::Leaving, &[]),
            ],
            refused: vec![RefusedMember {
                name: "db-1".to_owned(),
                reason: "no name in [membership.grants] fits to it".to_owned(),
            }],
            records_refused: 0,
            records_stale: 0,
            restored: 0,
        };
        assert_eq!(
            text(Some(&membership)),
            "etcd: https://10.0.0.5:2379, revision 712, for 61 s
name   role    addresses  services  state
web-1  server  10.0.0.4   web       present
web-2  server  10.0.0.4   -         leaving
not taken: db-1: no name in [membership.grants] fits to it"
        );
        assert!(text(None).contains("[membership]"));
        assert!(time(0).ends_with("days ago"));
    }
}
