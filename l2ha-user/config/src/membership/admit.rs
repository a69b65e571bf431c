//! Which of those who joined are part of a configuration.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::{
    cluster::{self, CLUSTER, JOINED, Joiner, JoinersText, Role},
    cookie_file::Files,
    error::{ConfigError, ConfigErrors},
    file,
    parse::parse,
    report::{Place, Report},
    section::find,
};

use super::{
    joined::{Joined, JoinedList},
    read::read,
    schema::MEMBERSHIP,
    types::{Membership, SetAside},
};

/// After so many have been refused one by one, all of whom something is wrong are: the work must have an end.
const MOST_ROUNDS: usize = 32;

/// Those who joined and fit to the rest of the cluster.
#[derive(Default)]
pub(crate) struct Admitted {
    /// Their lines.
    pub(crate) text: JoinersText,
    /// Why there is no list, where there should be one.
    unread: Option<(PathBuf, String)>,
}

impl Admitted {
    /// Reads the list that a file's `[membership]` names, if it has one.
    pub(crate) fn load(text: &str, root: &DeTable<'_>, folder: &Path) -> Self {
        let mut admitted = Self::default();
        let Some(value) = find(root, MEMBERSHIP.name) else {
            return admitted;
        };
        // Its mistakes are told by whoever reads the whole.
        let report = Report::new(text);
        admitted.text.open = true;
        admitted.text.line = report.line(value.span().start);
        let Some(membership) = read(&report, root, folder) else {
            return admitted;
        };
        match JoinedList::load(&membership.state_dir) {
            Ok(list) => {
                admitted.text.own = list.own;
                choose(&mut admitted.text, text, root, &membership, list.members);
            }
            Err(error) => admitted.unread = Some((membership.state_dir, error.to_string())),
        }
        admitted
    }

    /// Those who did not come in, and why.
    pub(crate) fn set_aside(&self) -> Vec<SetAside> {
        let refused = self.text.refused.iter();
        let refused = refused.map(|(name, reason)| SetAside {
            name: name.clone(),
            reason: reason.clone(),
        });
        refused.collect()
    }

    /// Reports a list that cannot be read.
    pub(crate) fn report(&self, report: &Report) {
        if let Some((path, error)) = &self.unread {
            let place = Place {
                line: self.text.line,
                key: format!("{}.state_dir", MEMBERSHIP.name),
            };
            report.error(
                &place,
                format!(
                    "the list of those who joined, in {}, cannot be read: {error}",
                    path.display()
                ),
                "remove it and call `l2ha join`, which asks etcd again",
            );
        }
    }
}

impl Membership {
    /// Reads `[membership]` of a file, and whether the rest of it is a cluster.
    ///
    /// # Errors
    ///
    /// With every mistake that was found; where nothing can be joined, that is one.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let errors = |errors| ConfigErrors::new(path, errors);
        let text = file::read(path).map_err(|error| errors(vec![error]))?;
        let report = Report::new(&text);
        let (root, broken) = DeTable::parse_recoverable(&text);
        let root = root.get_ref();
        if !broken.is_empty() {
            return Err(errors(
                parse(&text, &Files::in_folder(&file::folder(path)))
                    .err()
                    .unwrap_or_default(),
            ));
        }
        let membership = read(&report, root, &file::folder(path));
        if let Some(cluster) = find(root, CLUSTER.name) {
            let nobody = JoinersText {
                open: true,
                ..JoinersText::default()
            };
            let nobody = nobody.parse();
            if let Some(cluster) = cluster::read(&report, cluster, &nobody) {
                cluster::compare(&cluster);
            }
        }
        if membership.is_none() && report.count() == 0 {
            let place = Place {
                line: text.lines().count().max(1),
                key: MEMBERSHIP.name.to_owned(),
            };
            report.error(
                &place,
                "is missing: nothing can be joined",
                "add `[membership]`, and `etcd` below it",
            );
        }
        match membership {
            Some(membership) if report.count() == 0 => Ok(Self { text, ..membership }),
            _ => Err(errors(report.into_errors())),
        }
    }

    /// Why a node of these would be no part of the configuration.
    #[must_use]
    pub fn refusal(&self, nodes: &[Joined], name: &str) -> Option<String> {
        let (root, _) = DeTable::parse_recoverable(&self.text);
        let mut joiners = JoinersText {
            open: true,
            line: 1,
            ..JoinersText::default()
        };
        choose(
            &mut joiners,
            &self.text,
            root.get_ref(),
            self,
            nodes.to_vec(),
        );
        joiners.refused.remove(name)
    }
}

/// Takes those who fit: a name, an address or a derived value belongs to the file first, then to whoever was first on
/// the list.
fn choose(
    joiners: &mut JoinersText,
    text: &str,
    root: &DeTable<'_>,
    membership: &Membership,
    members: Vec<Joined>,
) {
    let services = names_of_services(root);
    let mut fitting = Vec::new();
    for joined in members {
        match refusal(membership, &services, &joined) {
            None => fitting.push(joined),
            Some(reason) => drop(joiners.refused.insert(joined.name, reason)),
        }
    }
    let (_, without) = mistakes(text, root, joiners);
    let mut rounds = 0;
    loop {
        write(joiners, &fitting);
        let (mut wrong, of_file) = mistakes(text, root, joiners);
        if wrong.is_empty()
            && of_file.len() > without.len()
            && let (Some(last), Some(error)) = (fitting.last(), of_file.first())
        {
            // What the mistake is about is one of the file's nodes, and somebody on the list the cause.
            wrong.push((last.name.clone(), error.what.clone()));
        }
        if wrong.is_empty() {
            return;
        }
        // Of two it is the later one that is told to be wrong: so the first of these is, and others perhaps by it.
        let blamed = |joined: &Joined| wrong.iter().any(|(name, _)| *name == joined.name);
        let first = fitting.iter().position(blamed).unwrap_or_default();
        let many = rounds >= MOST_ROUNDS;
        let mut at = 0;
        fitting.retain(|joined| {
            let goes = at == first || many && blamed(joined);
            at += 1;
            if goes {
                let reason = wrong.iter().find(|(name, _)| *name == joined.name);
                let reason =
                    reason.map_or_else(|| wrong[0].1.clone(), |(_, reason)| reason.clone());
                joiners.refused.insert(joined.name.clone(), reason);
            }
            !goes
        });
        rounds += 1;
    }
}

fn write(joiners: &mut JoinersText, members: &[Joined]) {
    joiners.text.clear();
    for (role, key, _) in Role::ALL {
        joiners.text.push_str(&format!("[{key}]\n"));
        for joined in members.iter().filter(|joined| joined.role == role) {
            joiners.text.push_str(&joined.line());
            joiners.text.push('\n');
        }
    }
    let all = members.iter().enumerate();
    joiners.joiners = all
        .map(|(place, joined)| {
            let services = joined.services.clone();
            (joined.name.clone(), Joiner { place, services })
        })
        .collect();
}

/// Why a node may not be what it says.
fn refusal(membership: &Membership, services: &[&str], joined: &Joined) -> Option<String> {
    let Joined { name, role, .. } = joined;
    if let Some(problem) = joined.name_problem() {
        return Some(problem);
    }
    if membership.local.contains_key(name) {
        return Some("the file has a node of this name".to_owned());
    }
    let addresses = membership.local.iter();
    for (other, taken) in addresses {
        if let Some(address) = joined.addresses.iter().find(|it| taken.contains(it)) {
            return Some(format!("{address} is the address of `{other}` in the file"));
        }
    }
    let Some(grant) = membership.grant(name) else {
        return Some("no name in [membership.grants] fits to it".to_owned());
    };
    if grant.role != *role {
        return Some(format!(
            "it says that it is {}, and `{}` in [membership.grants] is {}",
            role.shown(),
            grant.names,
            grant.role.shown()
        ));
    }
    for service in &joined.services {
        if !grant.services.contains(service) {
            return Some(format!(
                "`{}` in [membership.grants] does not have the service `{service}`",
                grant.names
            ));
        }
        if !services.contains(&service.as_str()) {
            return Some(format!("the file has no service `{service}`"));
        }
    }
    None
}

/// The names of `[[services]]`.
fn names_of_services<'a>(root: &'a DeTable<'_>) -> Vec<&'a str> {
    let services = find(root, "services").and_then(|value| value.get_ref().as_array());
    let services = services.into_iter().flatten();
    services
        .filter_map(|service| match service.get_ref() {
            DeValue::Table(table) => find(table, "name")?.get_ref().as_str(),
            _ => None,
        })
        .collect()
}

/// The mistakes of a cluster with those who joined: of whom, and what; and those of the file itself.
fn mistakes(
    text: &str,
    root: &DeTable<'_>,
    joiners: &JoinersText,
) -> (Vec<(String, String)>, Vec<ConfigError>) {
    let report = Report::new(text);
    let lines = joiners.parse();
    let cluster = find(root, CLUSTER.name);
    if let Some(cluster) = cluster.and_then(|it| cluster::read(&report, it, &lines)) {
        cluster::compare(&cluster);
    }
    let mut of_joined = Vec::new();
    let mut of_file = Vec::new();
    for error in lines.errors().into_iter().chain(report.errors()) {
        let mut path = error.key.split('.');
        match (path.next(), path.next(), path.next()) {
            (Some(joined), Some(_), Some(name)) if joined == JOINED.name => {
                of_joined.push((name.to_owned(), error.what));
            }
            _ => of_file.push(error),
        }
    }
    (of_joined, of_file)
}
