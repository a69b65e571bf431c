//! `l2ha init`.

mod answers;
mod text;
mod write;

use std::{
    io::{IsTerminal as _, stderr, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use config::{Expanded, Which, Who};

use self::answers::{Answers, Member, Service};
use super::{FINE, USAGE, genkey, output};

/// Name of the secret's file, beside the cluster's.
const SECRET: &str = "cluster.key";

/// Write the file and the secret of a new cluster
///
/// What is needed and not given is asked for. Both files are the same on every node: they are written once, here, and
/// copied. Nothing that is there is overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha init
  l2ha init --name shop --server server-1=10.0.0.1 --server server-2=10.0.0.2 --client client-1=10.0.0.9 \\
    --service web=2001:db8::80 --check tcp:443
  l2ha init --name shop --server 10.0.0.1 --server 10.0.0.2 --output shop/l2ha.toml

A check is one of tcp:PORT, http://.., https://.., unit:NAME.service, exec:/PROGRAM ARGUMENT.. and none.")]
pub(super) struct Init {
    /// Name of the cluster: all that is derived is derived from it too
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A node that holds the service, and its address on the network between the nodes; for each server. Without a
    /// name it is server-1, server-2 and so on
    #[arg(long, value_name = "NAME=ADDRESS")]
    server: Vec<String>,
    /// A node that uses it; for each client
    #[arg(long, value_name = "NAME=ADDRESS")]
    client: Vec<String>,
    /// The service, and the address that all servers hold
    #[arg(long, value_name = "NAME=ADDRESS")]
    service: Option<String>,
    /// What decides whether a server advertises that address
    #[arg(long, value_name = "CHECK", requires = "service")]
    check: Option<String>,
    /// File to write; the secret is written beside it, as cluster.key
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    output: PathBuf,
    /// Overwrite the file, and the secret too, which then has to be copied to every node again
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) fn main(self) -> Result<u8> {
        let secret_path = secret_path(&self.output)?;
        if !self.force {
            // Before anybody has answered questions.
            write::refuse_existing([&self.output, &secret_path])?;
        }
        let missing = self.missing();
        let can_ask = stdin().is_terminal() && stderr().is_terminal();
        if !missing.is_empty() && !can_ask {
            output::error(&format!(
                "l2ha init: there is no terminal to ask at, and these options are missing: {}; \
                 `l2ha init --help` has examples",
                missing.join(", ")
            ));
            return Ok(USAGE);
        }
        let answers = match missing.is_empty() {
            true => self.given()?,
            false => self.ask()?,
        };
        answers.enough()?;
        let secret = genkey::random(32)?;
        try_out(&answers, &secret)?;
        let text = text::cluster_file(&answers, &secret_path);
        write::both(
            (&self.output, &text),
            (&secret_path, secret.as_str()),
            self.force,
        )?;
        let who = node::who(None).unwrap_or_default();
        output::line(&next_steps(&answers, &self.output, &secret_path, &who))?;
        Ok(FINE)
    }

    /// The options without which nothing can be written.
    fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.name.is_none() {
            missing.push("`--name NAME`");
        }
        if self.server.is_empty() {
            missing.push("`--server NAME=ADDRESS`");
        }
        if self.service.is_some() && self.check.is_none() {
            missing.push("`--check CHECK` (or `--check none`)");
        }
        missing
    }

    /// What the options say.
    fn given(&self) -> Result<Answers> {
        let service = self.service.as_deref();
        let service = service.map(|service| {
            let check = self.check.as_deref().unwrap_or_default();
            Service::parse(service, check)
        });
        Ok(Answers {
            name: self.name.clone().unwrap_or_default(),
            servers: Member::list(&self.server, "server")?,
            clients: Member::list(&self.client, "client")?,
            service: service.transpose()?,
        })
    }

    /// What the options say, and for the rest what a person does.
    fn ask(&self) -> Result<Answers> {
        use answers::ask;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ask("Name of the cluster", Some("cluster"), |_| Ok(()))?,
        };
        let words = |line: &str| -> Vec<String> {
            let words = line.split([' ', ',']).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let members = |given: &[String], role: &str, prompt: &str, none: Option<&str>| {
            if !given.is_empty() {
                return Member::list(given, role);
            }
            let parse = |line: &str| Member::list(&words(line), role);
            let line = ask(prompt, none, |line| match parse(line)?[..] {
                [] if none.is_none() => bail!("a cluster has servers"),
                _ => Ok(()),
            })?;
            parse(&line)
        };
        let servers = "Servers, each as NAME=ADDRESS or ADDRESS, with blanks between";
        let servers = members(&self.server, "server", servers, None)?;
        let clients = "Clients, likewise (may be empty)";
        let clients = members(&self.client, "client", clients, Some(""))?;
        let service = match &self.service {
            Some(service) => service.clone(),
            None => {
                let prompt =
                    "A service, as NAME=ADDRESS: an address that all servers hold (may be empty)";
                ask(prompt, Some(""), |line| match line {
                    "" => Ok(()),
                    service => Service::parse(service, "none").map(|_| ()),
                })?
            }
        };
        let check = match &self.check {
            Some(check) => check.clone(),
            None if service.is_empty() => String::new(),
            None => {
                let prompt = "Its check: tcp:PORT, http://.., https://.., unit:NAME.service, exec:/PROGRAM or none";
                ask(prompt, Some("tcp:80"), |check| {
                    Service::parse(&service, check).map(|_| ())
                })?
            }
        };
        let service = (!service.is_empty()).then(|| Service::parse(&service, &check));
        Ok(Answers {
            name,
            servers,
            clients,
            service: service.transpose()?,
        })
    }
}

/// Beside the file, by an absolute path: each node has it there.
fn secret_path(file: &Path) -> Result<PathBuf> {
    let file = std::path::absolute(file)
        .with_context(|| format!("{} is no path of a file", file.display()))?;
    let folder = file.parent();
    let folder = folder.with_context(|| format!("{} is no file", file.display()))?;
    Ok(folder.join(SECRET))
}

/// Has every node's part made, as `l2ha check` does, before anything is written where it stays.
fn try_out(answers: &Answers, secret: &str) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder to try the file in")?;
    let file = folder.path().join("l2ha.toml");
    let key = folder.path().join(SECRET);
    write::both(
        (&file, &text::cluster_file(answers, &key)),
        (&key, secret),
        false,
    )?;
    let nobody = Who::default();
    let Err(errors) = Expanded::load(&file, Which::All(&nobody)) else {
        return Ok(());
    };
    let wrong: Vec<String> = errors
        .errors()
        .iter()
        .map(|error| format!("  {}: {}; {}", error.key, error.what, error.remedy))
        .collect();
    bail!(
        "nothing is written, for these answers make no good file:\n{}",
        wrong.join("\n")
    )
}

/// What is there now, and what a person does with it.
fn next_steps(answers: &Answers, file: &Path, secret: &Path, who: &Who) -> String {
    let here = |member: &&Member| {
        let mut host = who.addresses.iter();
        host.any(|(_, address)| *address == member.address)
    };
    let this = answers.members().find(here);
    let count = |list: &[Member], role| match list.len() {
        1 => format!("1 {role}"),
        many => format!("{many} {role}s"),
    };
    let mut text = format!(
        "{}: cluster {}, {}, {}\n{}: its secret\n\nNext:\n  1. copy both files to each other node:\n",
        file.display(),
        answers.name,
        count(&answers.servers, "server"),
        count(&answers.clients, "client"),
        secret.display(),
    );
    let others = answers.members().filter(|member| !here(member));
    for member in others {
        let host = match member.address.is_ipv6() {
            true => format!("[{}]", member.address),
            false => member.address.to_string(),
        };
        text.push_str(&format!(
            "       scp -p {} {} root@{host}:{}/   # {}\n",
            file.display(),
            secret.display(),
            secret.parent().unwrap_or(Path::new("/")).display(),
            member.name,
        ));
    }
    if let Some(client) = answers.clients.first() {
        text.push_str(&format!(
            "     A client can have a key of its own as its {SECRET}, which opens no other node's tunnels:\n       \
             l2ha genkey --cluster {} --node {} --output {}.key\n",
            file.display(),
            client.name,
            client.name,
        ));
    }
    let usual = std::path::absolute(file).is_ok_and(|file| file == Path::new(config::DEFAULT_FILE));
    let option = match usual {
        true => String::new(),
        false => format!(" --config {}", file.display()),
    };
    text.push_str(&format!(
        "  2. on each node: l2ha check{option}\n  3. on each node: l2ha run{option}\n  4. on each node: l2ha status --wait 30"
    ));
    match this {
        Some(member) => text.push_str(&format!("\n\nThis host is {}.", member.name)),
        None => text.push_str(
            "\n\nThis host has none of these addresses, so it is no node of the cluster.",
        ),
    }
    text
}
