//! `l2ha explain`.

use anyhow::Result;
use control::{Command, Explanation, Verdict};

use super::{
    socket::{Daemon, Show},
    table,
};

/// Show everything that decides about a tunnel, a service or an address, and where it stops
///
/// In the order in which a packet meets it: the underlay, the route to the peer, the virtual interface, what
/// is refused, OSPF, BFD, and for a service its address, its check and who hears of it. What is wrong comes
/// last, with the line to change.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  l2ha explain client
  l2ha explain web
  l2ha explain 2001:db8::80
  l2ha explain client --json | jq '.steps[] | select(.verdict == \"stops\")'")]
pub(super) struct Explain {
    /// A tunnel's or a service's name, or an address
    #[arg(value_name = "WHAT")]
    what: String,
    #[command(flatten)]
    daemon: Daemon,
    /// Print the daemon's JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn main(self) -> Result<u8> {
        let Self { what, daemon, json } = self;
        let command = |returns| Command::Explain { what, returns };
        Show { daemon, json }.print(command, text)
    }
}

fn text(explanation: &Explanation) -> String {
    let mut table = table::new(&["", "", ""]);
    for step in &explanation.steps {
        let verdict = match step.verdict {
            Verdict::Fine => "ok",
            Verdict::Stops => "STOPS",
            Verdict::Open => "-",
        };
        table.add_row([verdict, step.what.as_str(), step.text.as_str()]);
    }
    let rows = table::text(&mut table);
    let mut lines = vec![explanation.about.clone()];
    // The table's head is empty.
    lines.extend(rows.lines().skip(1).map(|line| format!("  {line}")));
    for problem in &explanation.problems {
        lines.push(format!(
            "{}: {}: {}",
            problem.severity.name(),
            problem.subject,
            problem.text
        ));
        lines.push(format!("  -> {}", problem.remedy));
    }
    if explanation.problems.is_empty() {
        lines.push("nothing is wrong with it".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use control::{Problem, ProblemId, Severity, Step, Subject};

    use super::*;

    #[test]
    fn steps_are_a_column_and_problems_come_last() {
        let step = |what: &str, verdict, text: &str| Step {
            what: what.to_owned(),
            verdict,
            text: text.to_owned(),
        };
        let subject = Subject::Tunnel("client".to_owned());
        let mut explanation = Explanation {
            about: "tunnel client".to_owned(),
            subjects: vec![subject.clone()],
            steps: vec![
                step("underlay", Verdict::Fine, "eth0: 10.77.0.1, xdp"),
                step("refused", Verdict::Stops, "wrong_cookie 7"),
                step("bfd", Verdict::Open, "off"),
            ],
            problems: vec![Problem {
                id: ProblemId::CookieRefused,
                severity: Severity::Degraded,
                subject,
                text: "another cookie".to_owned(),
                remedy: "the same bytes".to_owned(),
                since_ms: 0,
            }],
        };
        let lines: Vec<String> = text(&explanation).lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "tunnel client",
                "  ok     underlay  eth0: 10.77.0.1, xdp",
                "  STOPS  refused   wrong_cookie 7",
                "  -      bfd       off",
                "degraded: tunnel client: another cookie",
                "  -> the same bytes",
            ]
        );
        explanation.problems.clear();
        assert!(text(&explanation).ends_with("nothing is wrong with it"));
    }
}
