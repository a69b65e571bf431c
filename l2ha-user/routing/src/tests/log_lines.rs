//! What a node says in its log: about one line for a neighbour, names instead of indices, and a warning only for
//! what nobody has asked for.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tokio::time::sleep;
use tracing::{Level, subscriber::DefaultGuard};

use super::net::{AT_REST, Net, play};

const SERVICE: &str = "2001:db8::80";

/// Everything that is said at level info and above, by all nodes.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Said {
    fn listen(&self) -> DefaultGuard {
        let said = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::INFO)
            .with_ansi(false)
            .without_time()
            .with_writer(move || said.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// What the node 1 has said since that was asked last.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        let of_one = text.lines().filter(|line| line.contains("node{number=1}"));
        of_one.map(str::to_owned).collect()
    }
}

#[test]
fn a_start_and_a_failover_are_few_lines_and_a_reload_warns_of_nothing() {
    let said = Said::default();
    let _listening = said.listen();
    play(async {
        let mut net = Net::new(&[(1, 2), (1, 3), (1, 4), (1, 5)]);
        for server in 2..=5 {
            net.node(server).serve(SERVICE, server as u16);
        }
        for node in 1..=5 {
            net.node(node).start();
        }
        sleep(AT_REST).await;
        let start = said.take();
        let full = start.iter().filter(|line| line.contains(": full"));
        assert_eq!(full.count(), 4, "{start:#?}");
        assert!(start.len() <= 12, "{start:#?}");
        assert!(
            !start.iter().any(|line| line.contains("WARN")),
            "{start:#?}"
        );

        net.set_cut(1, 2, true);
        net.node(1).fail(2, true);
        sleep(AT_REST).await;
        let failover = said.take();
        let lost = |line: &&String| {
            line.contains("WARN") && line.contains("10.0.0.2: lost") && line.contains("l2-2")
        };
        assert_eq!(failover.iter().filter(lost).count(), 1, "{failover:#?}");
        assert!(failover.len() <= 4, "{failover:#?}");

        // A tunnel is taken out of the configuration.
        net.node(1).desired.interfaces.retain(|it| it.index != 3);
        net.node(1).sync();
        sleep(AT_REST).await;
        let reload = said.take();
        let gone = |line: &String| line.contains("10.0.0.3: no longer");
        assert!(reload.iter().any(gone), "{reload:#?}");
        assert!(
            !reload.iter().any(|line| line.contains("WARN")),
            "{reload:#?}"
        );

        for line in start.iter().chain(&failover).chain(&reload) {
            for number in ["4294967295", "Nexthop {", "interface: "] {
                assert!(!line.contains(number), "{line}");
            }
        }
    });
}
