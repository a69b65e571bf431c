//! The file that `l2ha init` writes.

use std::path::Path;

use config::Sizing;

use super::answers::{Answers, Member};

/// The text of a cluster's file whose secret is in this one.
pub(super) fn cluster_file(answers: &Answers, secret: &Path) -> String {
    let mut text = String::from(
        "# One file for all nodes of a cluster, and the same on each. `l2ha check` shows what is wrong with it,\n\
         # `l2ha check --expand` what this node gets from it; docs/cluster.md has every key.\n\n",
    );
    let sizing = Sizing::of(answers.servers.len(), answers.clients.len());
    let bfd = sizing.bfd();
    let secret = quoted(&secret.to_string_lossy());
    text.push_str(&format!(
        "[cluster]\n\
         # Addresses, router ids and session ids are derived from this name: with another one it is another cluster.\n\
         name = {}\n\
         # What the nodes know and nobody else does. Cookies and keys are derived from it; keep it at mode 0600.\n\
         secret_file = {secret}\n\
         # How soon a node that falls silent is missed: milliseconds between packets, and how many may be lost.\n\
         bfd = \"{bfd}\"\n",
        quoted(&answers.name),
    ));
    text.push_str(
        "\n# The nodes that hold the services, each with its address on the network between the nodes. A host is the node\n\
         # whose address it has. Servers have tunnels to each other and to every client.\n\
         [cluster.servers]\n",
    );
    members(&mut text, &answers.servers);
    text.push_str(
        "\n# The nodes that use them.\n\
         [cluster.clients]\n",
    );
    members(&mut text, &answers.clients);
    if sizing.hello_interval > 1 {
        text.push_str(&format!(
            "\n# Seconds. In a cluster of this size BFD alone is quick (docs/scale.md).\n\
             [ospf]\n\
             hello_interval = {}\n\
             dead_interval = {}\n",
            sizing.hello_interval, sizing.dead_interval,
        ));
    }
    let Some(service) = &answers.service else {
        text.push_str(
            "\n# An address that all servers hold comes here, as docs/cluster.md shows: [[services]], with its name, its address\n\
             # and its check.\n",
        );
        return text;
    };
    text.push_str(&format!(
        "\n# An address that every server holds. The first one of the servers answers; when it fails, the next one does.\n\
         [[services]]\n\
         name = {}\n\
         address = \"{}\"\n",
        quoted(&service.name),
        service.address,
    ));
    match &service.check {
        Some(check) => text.push_str(&format!(
            "# A server advertises the address while this passes, once a second (docs/health.md).\n\
             check = {check}\n"
        )),
        None => text.push_str(
            "# Without a check the address is advertised while nothing answers there (docs/health.md).\n\
             # check = { unit = \"nginx.service\" }\n",
        ),
    }
    text
}

fn members(text: &mut String, members: &[Member]) {
    for Member { name, address } in members {
        // A name that TOML would not take bare is refused with the file.
        let name =
            match name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') && !name.is_empty() {
                true => name.clone(),
                false => quoted(name),
            };
        text.push_str(&format!("{name} = \"{address}\"\n"));
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
