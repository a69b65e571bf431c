//! The cluster's secret, or a client's own key in its place.

use crate::{
    cookie_file::{Files, Problem},
    report::Found,
};

use super::{
    derive::{NODE_KEY, NodeKey, PairKeys, SECRET, Secret, from_hex},
    types::{Cluster, Member, Role},
};

/// More than a key's digits and some white space.
const LONGEST: u64 = 2 * NODE_KEY as u64 + 8;

/// What a node derives the secrets of its tunnels from.
pub(crate) struct Keys {
    present: Key,
    previous: Option<Key>,
}

/// One of them.
enum Key {
    Secret(Secret),
    Node(NodeKey),
}

impl Keys {
    /// Reads the files that `[cluster]` names, as this member may have them.
    pub(crate) fn read(cluster: &Cluster<'_>, member: &Member<'_>, files: &Files) -> Option<Self> {
        let present = key(cluster, member, files, "secret_file");
        let previous = match cluster.section.place_of("secret_previous_file") {
            Some(_) => Some(key(cluster, member, files, "secret_previous_file")?),
            None => None,
        };
        let present = present?;
        let place = || cluster.section.place_of("secret_previous_file");
        if let Some(place) = place().filter(|_| !cluster.authentication) {
            cluster.section.report.error(
                &place,
                "the nodes tell each other by authenticated OSPF which secrets they accept",
                "remove `authentication = false`, or this key",
            );
            return None;
        }
        if let Some(previous) = &previous
            && previous.fingerprint(cluster) == present.fingerprint(cluster)
            && let Some(place) = place()
        {
            cluster.section.report.error(
                &place,
                "the keys of the former and the present secret have the same ids",
                "make another secret with `l2ha genkey --bytes 32 --output FILE`, or remove this key if they are the same",
            );
            return None;
        }
        Some(Self { present, previous })
    }

    /// What two members share, the present one first.
    pub(crate) fn pair(
        &self,
        cluster: &Cluster<'_>,
        of: &Member<'_>,
        peer: &Member<'_>,
    ) -> Vec<PairKeys> {
        let keys = [Some(&self.present), self.previous.as_ref()];
        let keys = keys.into_iter().flatten();
        keys.map(|key| key.pair(cluster.name, of, peer)).collect()
    }

    /// A member's own key, where the secret itself is here.
    pub(crate) fn of_member(&self, cluster: &Cluster<'_>, member: &str) -> Option<NodeKey> {
        match &self.present {
            Key::Secret(secret) => Some(secret.node_key(cluster.name, member)),
            Key::Node(_) => None,
        }
    }
}

impl Key {
    fn pair(&self, cluster: &str, of: &Member<'_>, peer: &Member<'_>) -> PairKeys {
        let (server, client) = match (of.role, peer.role) {
            (Role::Server, Role::Client | Role::Gateway) => (of, peer),
            (Role::Client | Role::Gateway, Role::Server) => (peer, of),
            _ => match self {
                Self::Secret(secret) => return secret.alike(cluster, of.name, peer.name),
                // Refused when it was read.
                Self::Node(key) => return key.with_server(peer.name),
            },
        };
        match self {
            Self::Secret(secret) => secret
                .node_key(cluster, client.name)
                .with_server(server.name),
            Self::Node(key) => key.with_server(server.name),
        }
    }

    fn fingerprint(&self, cluster: &Cluster<'_>) -> u8 {
        match self {
            Self::Secret(secret) => secret.node_key(cluster.name, "").fingerprint(),
            Self::Node(key) => key.fingerprint(),
        }
    }
}

fn key(cluster: &Cluster<'_>, member: &Member<'_>, files: &Files, name: &str) -> Option<Key> {
    let found = cluster.section.string(name)?;
    let report = cluster.section.report;
    let refuse = |problem: Problem| report.error(&found.place, problem.what, problem.remedy);
    let digits = |length: usize| found.value.len() == length && from_hex_of_any(found.value);
    if found.value.is_empty() || digits(2 * SECRET) || digits(2 * NODE_KEY) {
        // It may be a real secret: not shown.
        refuse(Problem {
            what: "this is no file's name".to_owned(),
            remedy: format!(
                "write `{name} = \"FILE\"`, with a file made by `l2ha genkey --bytes 32 --output FILE`"
            ),
        });
        return None;
    }
    let text = match files.text(found.value, LONGEST) {
        Ok(text) => text,
        Err(mut problem) => {
            if problem.what.ends_with("is not there") {
                problem.remedy = missing(member, files, &found);
            }
            refuse(problem);
            return None;
        }
    };
    if let Some(secret) = from_hex::<SECRET>(&text) {
        return Some(Key::Secret(Secret::new(&secret, cluster.name)));
    }
    let shown = files.folder.join(found.value);
    let shown = shown.display();
    let Some(own) = from_hex::<NODE_KEY>(&text) else {
        refuse(Problem {
            what: format!(
                "{shown} has {} characters; a cluster's secret is {} hexadecimal digits, a client's own key {}",
                text.trim_ascii().len(),
                2 * SECRET,
                2 * NODE_KEY
            ),
            remedy: format!(
                "copy it from another node, or make a new one for all with `rm {shown}` and `l2ha genkey --bytes 32 --output {shown}`"
            ),
        });
        return None;
    };
    let needs_it = match (member.role, cluster.full) {
        (Role::Server, _) => "a server",
        (Role::Client | Role::Gateway, true) => {
            "a node that has tunnels to clients (`links = \"full\"`)"
        }
        (Role::Client | Role::Gateway, false) => return Some(Key::Node(NodeKey::new(own))),
    };
    refuse(Problem {
        what: format!(
            "{shown} is the key of one node, but `{}` is {needs_it}",
            member.name
        ),
        remedy: "copy the cluster's secret here from a server".to_owned(),
    });
    None
}

fn from_hex_of_any(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What to do where there is no file.
fn missing(member: &Member<'_>, files: &Files, found: &Found<&str>) -> String {
    let path = files.folder.join(found.value);
    let path = path.display();
    match member.role {
        Role::Server => format!(
            "make it once with `l2ha genkey --bytes 32 --output {path}`, and copy it to every server"
        ),
        Role::Client | Role::Gateway => format!(
            "copy it from a server, or make this node's own there with `l2ha genkey --cluster FILE --node {}`",
            member.name
        ),
    }
}
