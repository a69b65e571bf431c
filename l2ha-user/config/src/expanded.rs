//! A file with `[cluster]`, as files without it.

use std::{collections::BTreeMap, path::Path};

use toml::de::DeTable;
use zeroize::Zeroizing;

use crate::{
    cluster::{self, Cluster, Expansion, Joiners, Keys, Member, Role, Who},
    cookie_file::Files,
    error::{ConfigError, ConfigErrors},
    file::{folder, read},
    membership::{self, Admitted, Membership},
    parse::{parse, unknown_tables},
    report::{Place, Report},
    section::find,
    types::Config,
};

/// What one node of a cluster gets.
#[derive(Debug)]
pub struct Expanded {
    /// Its name.
    pub node: String,
    /// The file without `[cluster]` that means the same.
    pub text: String,
    /// The files of secrets that it names, in its own folder: their names and what is in them.
    pub files: BTreeMap<String, Zeroizing<String>>,
}

/// Which nodes of a cluster are meant.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// This one.
    One(&'a Who),
    /// All of them; the host's addresses are of use for this one only.
    All(&'a Who),
}

impl Expanded {
    /// Reads and checks a file with `[cluster]`, and expands it for nodes. Nothing where there is no `[cluster]`.
    ///
    /// # Errors
    ///
    /// With every mistake that was found.
    pub fn load(path: &Path, which: Which<'_>) -> Result<Vec<Self>, ConfigErrors> {
        let errors = |errors| ConfigErrors::new(path, errors);
        let text = read(path).map_err(|error| errors(vec![error]))?;
        expand(&text, &folder(path), which).map_err(errors)
    }
}

/// The key of a node of a cluster that has no more than that, as the text of its file.
///
/// # Errors
///
/// When the file has mistakes, has no `[cluster]` or no such node, or the cluster's secret is not here.
pub fn node_key(path: &Path, node: &str) -> Result<Zeroizing<String>, ConfigErrors> {
    let errors = |errors| ConfigErrors::new(path, errors);
    let text = read(path).map_err(|error| errors(vec![error]))?;
    key_of_node(&text, &folder(path), node).map_err(errors)
}

/// The cluster of a file, as far as no secret is needed for it; nothing where it has mistakes.
fn read_cluster<'a>(
    report: &'a Report,
    root: &'a DeTable<'a>,
    joiners: &'a Joiners<'a>,
) -> Option<Cluster<'a>> {
    unknown_tables(report, root);
    let value = find(root, cluster::CLUSTER.name)?;
    let cluster = cluster::read(report, value, joiners)?;
    cluster::compare(&cluster);
    Some(cluster)
}

/// What a file with `[cluster]` means for one of its nodes.
pub(crate) fn of_cluster(
    text: &str,
    root: &DeTable<'_>,
    folder: &Path,
    who: &Who,
) -> Result<Config, Vec<ConfigError>> {
    let report = &Report::new(text);
    let admitted = Admitted::load(text, root, folder);
    let joiners = admitted.text.parse();
    admitted.report(report);
    let membership = membership::read(report, root, folder);
    let expansion = || {
        let cluster = read_cluster(report, root, &joiners)?;
        let member = cluster.identify(who)?;
        let keys = Keys::read(&cluster, member, &Files::in_folder(folder))?;
        Some(cluster::expand(&cluster, member, &keys, root, Some(who)))
    };
    match expansion() {
        Some(expansion) if report.count() == 0 => {
            let mut config = meaning(&expansion, folder)?;
            config.membership = membership.map(|membership| Membership {
                set_aside: admitted.set_aside(),
                text: text.to_owned(),
                ..membership
            });
            Ok(config)
        }
        _ => Err(report.errors()),
    }
}

/// What an expansion means.
fn meaning(expansion: &Expansion, folder: &Path) -> Result<Config, Vec<ConfigError>> {
    let mut files = Files::in_folder(folder);
    files.derived.clone_from(&expansion.files);
    parse(&expansion.text, &files).map_err(|errors| {
        let errors = errors.into_iter();
        errors.map(|error| expansion.origin(error)).collect()
    })
}

/// What nodes of a cluster get.
fn expand(text: &str, folder: &Path, which: Which<'_>) -> Result<Vec<Expanded>, Vec<ConfigError>> {
    let report = Report::new(text);
    let (root, broken) = DeTable::parse_recoverable(text);
    let root = root.get_ref();
    if !broken.is_empty() || find(root, cluster::CLUSTER.name).is_none() {
        return parse(text, &Files::in_folder(folder)).map(|_| Vec::new());
    }
    let admitted = Admitted::load(text, root, folder);
    let joiners = admitted.text.parse();
    admitted.report(&report);
    let _ = membership::read(&report, root, folder);
    let expansions = || {
        let cluster = read_cluster(&report, root, &joiners)?;
        let (Which::One(who) | Which::All(who)) = which;
        let members: Vec<&Member<'_>> = match which {
            Which::One(who) => vec![cluster.identify(who)?],
            Which::All(_) => cluster.members.iter().collect(),
        };
        // A server's, so that there is everything that any node needs.
        let server = cluster
            .members
            .iter()
            .find(|member| member.role == Role::Server);
        let reader = match members[..] {
            [member] => member,
            _ => server?,
        };
        let keys = Keys::read(&cluster, reader, &Files::in_folder(folder))?;
        let all = members.into_iter().map(|member| {
            let mut host = who.addresses.iter();
            let here = host.any(|(_, address)| member.addresses.contains(address));
            let expansion = cluster::expand(&cluster, member, &keys, root, here.then_some(who));
            (member.name.to_owned(), expansion)
        });
        Some(all.collect::<Vec<_>>())
    };
    let Some(expansions) = expansions().filter(|_| report.count() == 0) else {
        return Err(report.into_errors());
    };
    let mut all = Vec::new();
    for (node, expansion) in expansions {
        meaning(&expansion, folder)?;
        let Expansion { text, files, .. } = expansion;
        all.push(Expanded { node, text, files });
    }
    Ok(all)
}

fn key_of_node(
    text: &str,
    folder: &Path,
    node: &str,
) -> Result<Zeroizing<String>, Vec<ConfigError>> {
    let report = Report::new(text);
    let (root, broken) = DeTable::parse_recoverable(text);
    let root = root.get_ref();
    if !broken.is_empty() {
        return Err(parse(text, &Files::in_folder(folder))
            .err()
            .unwrap_or_default());
    }
    let Some(value) = find(root, cluster::CLUSTER.name) else {
        let place = Place {
            line: 1,
            key: cluster::CLUSTER.name.to_owned(),
        };
        report.error(
            &place,
            "this file has no cluster",
            "name one that has `[cluster]`",
        );
        return Err(report.into_errors());
    };
    let admitted = Admitted::load(text, root, folder);
    let joiners = admitted.text.parse();
    let key = || {
        let cluster = cluster::read(&report, value, &joiners)?;
        let who = Who {
            node: Some(node.to_owned()),
            ..Who::default()
        };
        let member = cluster.identify(&who)?;
        if member.role == Role::Server {
            let what = format!("`{node}` is a server, which needs the cluster's secret itself");
            report.error(
                &member.place,
                what,
                "copy the secret there, or name a client",
            );
            return None;
        }
        let keys = Keys::read(&cluster, member, &Files::in_folder(folder))?;
        let key = keys.of_member(&cluster, node);
        if key.is_none()
            && let Some(place) = cluster.section.place_of("secret_file")
        {
            let what = "here is the key of one node, from which no other can be made";
            report.error(
                &place,
                what,
                "make it on a server, which has the cluster's secret",
            );
        }
        key
    };
    match key() {
        Some(key) if report.count() == 0 => Ok(key.hex()),
        _ => Err(report.into_errors()),
    }
}
