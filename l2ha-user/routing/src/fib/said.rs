//! What the log says of routes: one line for as many as were written at once, and not many lines within a while.

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

use linux::{Error, KernelRoute};
use nix::net::if_::if_indextoname;
use tokio::time::Instant;

/// So many lines within this time; more are for those who look for a fault. Somebody who takes routes away
/// again and again would fill the log.
const LINES: (usize, Duration) = (10, Duration::from_secs(10));

/// When the last lines were written.
#[derive(Debug, Default)]
pub(crate) struct Said(VecDeque<Instant>);

impl Said {
    /// Says what was done to routes.
    pub(crate) fn log(&mut self, routes: &[&KernelRoute], what: &str) {
        let Some(first) = routes.first() else {
            return;
        };
        for route in routes {
            tracing::debug!("{what}: {}", shown(route));
        }
        if self.may_speak() {
            tracing::info!("{what}: {}{}", shown(first), and_more(routes.len()));
        }
    }

    /// Says what the kernel has refused.
    pub(crate) fn log_refused(&mut self, errors: &[&Error], what: &str) {
        if let Some(error) = errors.first()
            && self.may_speak()
        {
            let more = and_more(errors.len());
            tracing::error!(%error, "{what}{more}; tried again at the next change");
        }
    }

    /// Whether there is room for another line.
    fn may_speak(&mut self) -> bool {
        let (most, within) = LINES;
        let now = Instant::now();
        while self.0.front().is_some_and(|at| now >= *at + within) {
            self.0.pop_front();
        }
        let may = self.0.len() < most;
        if may {
            self.0.push_back(now);
        }
        may
    }
}

/// What follows the first of several.
fn and_more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        _ => format!(" and {} more", count - 1),
    }
}

/// A route in the words of ip-route.
fn shown(route: &KernelRoute) -> String {
    let mut text = format!("{}/{}", route.destination, route.prefix_len);
    for hop in &route.nexthops {
        let device = match if_indextoname(hop.interface) {
            Ok(name) => name.to_string_lossy().into_owned(),
            Err(_) => format!("(gone, {})", hop.interface),
        };
        // Writing to a String does not fail.
        let _ = match hop.gateway {
            Some(gateway) => write!(text, " via {gateway} dev {device}"),
            None => write!(text, " dev {device}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use linux::Nexthop;

    use super::*;

    #[test]
    fn a_route_is_shown_with_names() {
        let route = KernelRoute {
            destination: "2001:db8::80".parse().unwrap(),
            prefix_len: 128,
            table: 254,
            priority: 20,
            source: None,
            object: None,
            mtu: None,
            nexthops: vec![Nexthop {
                interface: 1,
                gateway: Some("fe80::2".parse().unwrap()),
            }],
        };
        assert_eq!(shown(&route), "2001:db8::80/128 via fe80::2 dev lo");
        assert_eq!(and_more(1), "");
        assert_eq!(and_more(3), " and 2 more");
    }

    #[tokio::test(start_paused = true)]
    async fn routes_that_come_and_go_do_not_fill_the_log() {
        let mut said = Said::default();
        let mut lines = 0;
        for _ in 0..600 {
            lines += usize::from(said.may_speak());
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        // For 30 s.
        assert_eq!(lines, 30);
    }
}
