//! `l2ha check`.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use config::{Config, Expanded, Which};
use serde_json::json;

use super::{ConfigFile, FINE, USAGE, against, genkey, output};

/// Check a configuration file, and the cookie files it names
///
/// Every mistake is shown, each with its line and what to write instead. Nothing is changed. Of a file with [cluster]
/// every node is looked at where the cluster's secret is. With --against, what does not fit between the files of several
/// nodes is shown as well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha check
  l2ha check --config new.toml && systemctl reload l2ha
  l2ha check --json | jq .errors
  l2ha check --against server-2/l2ha.toml client/l2ha.toml
  l2ha check --expand
  l2ha check --expand --node client-1
  l2ha check --expand --all --output expanded")]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigFile,
    /// Print what this node of a cluster gets, as a file without [cluster] that means the same
    #[arg(long, conflicts_with = "json")]
    expand: bool,
    /// Every node of the cluster and not this one alone
    #[arg(long, requires = "expand", conflicts_with = "node")]
    all: bool,
    /// Write the files, and those of the secrets that they name, into this folder, which must not exist
    #[arg(long, value_name = "FOLDER", requires = "expand")]
    output: Option<PathBuf>,
    /// Files of other nodes: show what does not fit between them and this one, or between two of them. They may have
    /// been copied together; the cookies and keys that they name are looked for beside them
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["expand", "node"])]
    against: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn main(self) -> Result<u8> {
        if !self.against.is_empty() {
            return against::main(&self.config.path, &self.against, self.json);
        }
        let who = self.config.who()?;
        let path = self.config.path;
        if self.expand {
            let which = match self.all {
                true => Which::All(&who),
                false => Which::One(&who),
            };
            return expand(&path, which, self.output.as_deref());
        }
        let result = Config::load(&path, &who);
        let notes = result.as_ref().map(notes).unwrap_or_default();
        let code = if result.is_ok() { FINE } else { USAGE };
        match result {
            _ if self.json => {
                let errors = result
                    .as_ref()
                    .err()
                    .map_or(&[][..], |errors| errors.errors());
                output::json(&json!({
                    "version": 1,
                    "file": path,
                    "ok": result.is_ok(),
                    "errors": errors,
                    "notes": notes,
                }))?;
            }
            Ok(config) => {
                let ospf = match &config.ospf {
                    Some(ospf) => format!("OSPF router {}", ospf.router_id),
                    None => "no OSPF".to_owned(),
                };
                output::line(&format!(
                    "{}: fine: node {}, {}, {ospf}, {}",
                    path.display(),
                    config.node.name,
                    count(config.tunnels.len(), "tunnel"),
                    count(config.services.len(), "service"),
                ))?;
                for note in notes {
                    output::line(&format!("note: {note}"))?;
                }
            }
            Err(errors) => {
                let mistakes = count(errors.errors().len(), "mistake");
                output::error(&format!("{errors}\n{}: {mistakes}", path.display()));
            }
        }
        Ok(code)
    }
}

/// Prints or writes what nodes of a cluster get.
fn expand(path: &Path, which: Which<'_>, folder: Option<&Path>) -> Result<u8> {
    let all = match Expanded::load(path, which) {
        Ok(all) => all,
        Err(errors) => {
            output::error(&errors.to_string());
            return Ok(USAGE);
        }
    };
    ensure!(
        !all.is_empty(),
        "{} has no [cluster]: it is what it means",
        path.display()
    );
    let Some(folder) = folder else {
        let texts: Vec<&str> = all.iter().map(|it| it.text.trim_end()).collect();
        output::line(&texts.join("\n\n"))?;
        return Ok(FINE);
    };
    let make = |folder: &Path| {
        let made = DirBuilder::new().mode(0o700).create(folder);
        made.with_context(|| format!("{} cannot be made", folder.display()))
    };
    make(folder)?;
    for Expanded { node, text, files } in &all {
        let own = folder.join(node);
        make(&own)?;
        fs::write(own.join("l2ha.toml"), text)
            .with_context(|| format!("{} cannot be written", own.display()))?;
        for (name, secret) in files {
            genkey::write(&own.join(name), secret)?;
        }
        output::line(&format!(
            "{}: {}",
            own.display(),
            count(files.len() + 1, "file")
        ))?;
    }
    Ok(FINE)
}

/// What is worth knowing of a configuration without mistakes; of this host only what it shares with other
/// routing daemons, and how many files may be open.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = config.notes();
    for finding in doctor::briefly(config) {
        let remedy = finding.remedy.map(|remedy| format!(": {remedy}"));
        notes.push(format!(
            "this host: {}{}",
            finding.text,
            remedy.unwrap_or_default()
        ));
    }
    notes
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
