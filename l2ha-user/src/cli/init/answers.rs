//! What `l2ha init` is told, by options or at a terminal.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use dialoguer::{Input, theme::SimpleTheme};

/// What the file is made of.
#[derive(Debug)]
pub(super) struct Answers {
    /// Name of the cluster.
    pub(super) name: String,
    /// Nodes that hold the service.
    pub(super) servers: Vec<Member>,
    /// Nodes that use it.
    pub(super) clients: Vec<Member>,
    /// The service, if there is one yet.
    pub(super) service: Option<Service>,
}

/// A node.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) address: IpAddr,
}

/// A service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) address: IpAddr,
    /// Its check as TOML, if it has one.
    pub(super) check: Option<String>,
}

impl Answers {
    /// All nodes, in the order of the file.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.servers.iter().chain(&self.clients)
    }

    /// Refuses what has no tunnel.
    pub(super) fn enough(&self) -> Result<()> {
        ensure!(
            self.members().count() > 1,
            "a cluster has at least two nodes: name another one with `--server NAME=ADDRESS` or `--client NAME=ADDRESS`"
        );
        Ok(())
    }
}

impl Member {
    /// Nodes as they are written: `NAME=ADDRESS`, or an address alone, which is then named after its role.
    pub(super) fn list(written: &[String], role: &str) -> Result<Vec<Self>> {
        let members = written.iter().enumerate().map(|(index, text)| {
            let usual = format!("{role}-{}", index + 1);
            let (name, address) = text.split_once('=').unwrap_or((&usual, text));
            let address = address.trim().parse();
            Ok(Self {
                name: name.trim().to_owned(),
                address: address.with_context(|| {
                    format!("`{text}` is no node with an address; write it as {usual}=10.0.0.1")
                })?,
            })
        });
        members.collect()
    }
}

impl Service {
    /// A service as it is written, `NAME=ADDRESS`, and its check.
    pub(super) fn parse(written: &str, check: &str) -> Result<Self> {
        let parsed = written.split_once('=').and_then(|(name, address)| {
            let address: IpAddr = address.trim().parse().ok()?;
            Some((name.trim().to_owned(), address))
        });
        let (name, address) = parsed.with_context(|| {
            format!("`{written}` is no service with an address; write it as web=2001:db8::80")
        })?;
        Ok(Self {
            name,
            address,
            check: as_toml(check, address)?,
        })
    }
}

/// A check of a service with this address, as TOML.
fn as_toml(check: &str, address: IpAddr) -> Result<Option<String>> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let (kind, rest) = check.split_once(':').unwrap_or((check, ""));
    let toml = match (kind, rest) {
        ("none", "") => return Ok(None),
        ("tcp", port) => {
            let port = port.parse().ok().filter(|port| *port != 0);
            let port: u16 =
                port.with_context(|| format!("`{check}` has no port; write it as tcp:443"))?;
            format!("{{ tcp = \"{}\" }}", SocketAddr::new(address, port))
        }
        ("http" | "https", rest) if rest.starts_with("//") => {
            format!("{{ http = {} }}", quoted(check))
        }
        ("unit", name) if !name.is_empty() => format!("{{ unit = {} }}", quoted(name)),
        ("exec", command) if command.starts_with('/') => {
            let words: Vec<String> = command.split_whitespace().map(quoted).collect();
            format!("{{ exec = [{}] }}", words.join(", "))
        }
        _ => bail!(
            "`{check}` is no check; write tcp:PORT, http://.., https://.., unit:NAME.service, exec:/PROGRAM or none"
        ),
    };
    Ok(Some(toml))
}

/// Asks until there is an answer that is good.
pub(super) fn ask(
    prompt: &str,
    usual: Option<&str>,
    is_good: impl Fn(&str) -> Result<()>,
) -> Result<String> {
    let input = Input::<String>::with_theme(&SimpleTheme)
        .with_prompt(prompt)
        .validate_with(|answer: &String| {
            is_good(answer.trim()).map_err(|error| format!("{error:#}"))
        });
    let input = match usual {
        // An empty one is no default to show.
        Some("") => input.allow_empty(true),
        Some(usual) => input.default(usual.to_owned()),
        None => input,
    };
    let answer = input.interact_text().context("no answer")?;
    Ok(answer.trim().to_owned())
}
