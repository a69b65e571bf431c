//! From a file to a [`Config`].

use std::path::Path;

use toml::de::DeTable;

use crate::{
    cluster::{self, Who},
    cookie_file::Files,
    error::{ConfigError, ConfigErrors},
    expanded::of_cluster,
    file::{folder, read},
    membership::Admitted,
    parse::{parse, single},
    report::Report,
    schema::NODE,
    section::find,
    types::{Config, Node},
    underlay,
};

impl Config {
    /// Reads and checks a file, and the files of secrets it names; `who` says which node of a cluster is meant.
    ///
    /// # Errors
    ///
    /// With every mistake that was found.
    pub fn load(path: &Path, who: &Who) -> Result<Self, ConfigErrors> {
        let text = read(path).map_err(|error| ConfigErrors::new(path, vec![error]))?;
        Self::parse(&text, path, who)
    }

    /// Checks a text as that of this file, and the files of secrets it names.
    ///
    /// # Errors
    ///
    /// With every mistake that was found.
    pub fn parse(text: &str, path: &Path, who: &Who) -> Result<Self, ConfigErrors> {
        parse_as(text, &folder(path), who).map_err(|errors| ConfigErrors::new(path, errors))
    }
}

impl Node {
    /// Reads `[node]` of a file, whatever else is in it: for those who only want to find the daemon.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or its `[node]` has mistakes.
    pub fn load(path: &Path, who: &Who) -> Result<Self, ConfigErrors> {
        let text = read(path).map_err(|error| ConfigErrors::new(path, vec![error]))?;
        parse_node(&text, &folder(path), who).map_err(|errors| ConfigErrors::new(path, errors))
    }
}

fn parse_node(text: &str, folder: &Path, who: &Who) -> Result<Node, Vec<ConfigError>> {
    let report = Report::new(text);
    // What cannot be understood elsewhere is left out.
    let (root, _) = DeTable::parse_recoverable(text);
    if let Some(value) = find(root.get_ref(), cluster::CLUSTER.name) {
        let admitted = Admitted::load(text, root.get_ref(), folder);
        let joiners = admitted.text.parse();
        let name = cluster::read(&report, value, &joiners)
            .and_then(|cluster| Some(cluster.identify(who)?.name));
        let Some(name) = name else {
            return Err(report.into_errors());
        };
        let root = root.get_ref();
        return match cluster::node_text(&report, name, root)
            .map(|text| parse_node(&text, folder, who))
        {
            Some(node) => node,
            None => Err(report.into_errors()),
        };
    }
    let last_line = text.lines().count().max(1);
    let section = single(&report, root.get_ref(), &NODE, Some(last_line));
    match section.and_then(|section| underlay::node(&section)) {
        Some(node) if report.count() == 0 => Ok(node),
        _ => Err(report.into_errors()),
    }
}

/// Reads the text of a file that lies in `folder`.
pub(crate) fn parse_as(text: &str, folder: &Path, who: &Who) -> Result<Config, Vec<ConfigError>> {
    let (root, broken) = DeTable::parse_recoverable(text);
    let has_cluster = find(root.get_ref(), cluster::CLUSTER.name).is_some();
    if broken.is_empty() && has_cluster {
        return of_cluster(text, root.get_ref(), folder, who);
    }
    parse(text, &Files::in_folder(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_node_only_its_section_is_wanted() {
        let node = "[node]\nname = \"server-1\"\nrun_dir = \"/run/here\"\n";
        for rest in [
            "",
            "[underlay]\ninterface = 7\n",
            "[[tunnels]]\nremote = \n",
            "[osfp]\n",
        ] {
            let node =
                parse_node(&format!("{node}{rest}"), Path::new(""), &Who::default()).unwrap();
            assert_eq!(
                node.socket(),
                Path::new("/run/here/server-1.sock"),
                "{rest}"
            );
        }
        let errors =
            parse_node("[node]\nname = \"\"\n", Path::new(""), &Who::default()).unwrap_err();
        assert_eq!(errors[0].key, "node.name");
        assert_eq!(
            parse_node("[underlay]\n", Path::new(""), &Who::default())
                .unwrap_err()
                .len(),
            1
        );
    }
}
