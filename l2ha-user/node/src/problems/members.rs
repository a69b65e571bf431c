//! What is wrong with those who joined the cluster, and with etcd.

use control::{Member, MemberState, Membership, Problem, ProblemId, Severity, Subject};

use super::judge::problem;

/// For how many milliseconds etcd may be away before that is a problem: its members take turns.
const AWAY: u64 = 15_000;

/// Everything that is wrong there; the node itself goes on with the list that it has.
pub(crate) fn check(membership: &Membership) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut found = |id, text: String, remedy: String| {
        problems.push(problem(id, Severity::Degraded, Subject::Node, text, remedy));
    };
    if let (Some(why), true) = (&membership.away, membership.since_ms >= AWAY) {
        found(
            ProblemId::MembershipAway,
            format!("etcd is away, and nobody can join or leave: {why}"),
            "see to etcd; `etcd` and the certificates in [membership] here".to_owned(),
        );
    }
    match membership.registration.as_str() {
        "gone" => found(
            ProblemId::MembershipLost,
            "this node was taken out of the cluster: the others have no tunnel to it".to_owned(),
            "stop it, or let it join again: `l2ha join` here".to_owned(),
        ),
        "held" => found(
            ProblemId::MembershipLost,
            "another host has joined under this node's name or as a copy of this one".to_owned(),
            "give one of the two another name: `l2ha leave`, then `l2ha join --node NAME`"
                .to_owned(),
        ),
        _ => {}
    }
    if let Some(why) = &membership.own_problem {
        found(
            ProblemId::MembershipUnwritten,
            format!("this node cannot register at etcd: {why}"),
            "see to etcd's disk and alarms (`etcdctl alarm list`), and what `user` may write"
                .to_owned(),
        );
    }
    if let Some(why) = &membership.unwritten {
        found(
            ProblemId::MembershipUnwritten,
            format!("changes of the list of nodes are not taken: {why}"),
            "make room for [membership].state_dir (`df`, `df -i`) here".to_owned(),
        );
    }
    let of = |state| {
        membership
            .members
            .iter()
            .filter(move |it| it.state == state)
            .collect::<Vec<_>>()
    };
    if let Some(names) = names(&of(MemberState::Leaving)) {
        found(
            ProblemId::MembersWait,
            format!("more than a third of the nodes would go at once: {names}"),
            "`l2ha accept` where that is meant; their tunnels stay until then".to_owned(),
        );
    }
    if let Some(names) = names(&of(MemberState::Absent)) {
        found(
            ProblemId::MemberAbsent,
            format!("absent: {names}"),
            "start l2ha there; or `l2ha forget NODE`, if it is no more".to_owned(),
        );
    }
    if let [first, others @ ..] = &membership.refused[..] {
        let others = match others.len() {
            0 => String::new(),
            count => format!("; {count} more, see `l2ha members`"),
        };
        found(
            ProblemId::MemberRefused,
            format!("{} is not taken: {}{others}", first.name, first.reason),
            format!(
                "correct what {} joins as, or [membership.grants] on all nodes",
                first.name
            ),
        );
    }
    problems
}

/// Some of their names.
fn names(members: &[&Member]) -> Option<String> {
    const SHOWN: usize = 3;
    let shown: Vec<&str> = members
        .iter()
        .take(SHOWN)
        .map(|it| it.name.as_str())
        .collect();
    match members.len() {
        0 => None,
        count if count <= SHOWN => Some(shown.join(", ")),
        count => Some(format!(
            "{}, and {} others",
            shown.join(", "),
            count - SHOWN
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Membership {
        Membership {
            connected: Some("http://10.0.0.5:2379".to_owned()),
            away: None,
            since_ms: 60_000,
            retries: 0,
            revision: 7,
            registration: "fine".to_owned(),
            own_problem: None,
            unwritten: None,
            members: (1..=5)
                .map(|number| member(&format!("web-{number}"), MemberState::Present))
                .collect(),
            refused: Vec::new(),
            records_refused: 0,
            records_stale: 0,
            restored: 0,
        }
    }

    fn member(name: &str, state: MemberState) -> Member {
        Member {
            name: name.to_owned(),
            role: "server".to_owned(),
            addresses: vec!["10.0.0.4".parse().unwrap()],
            services: Vec::new(),
            state,
            absent_since: None,
        }
    }

    fn only(membership: &Membership) -> Problem {
        let mut problems = check(membership);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }

    #[test]
    fn each_situation_has_its_problem() {
        assert_eq!(check(&fine()), []);
        let mut away = fine();
        away.connected = None;
        away.away = Some("http://10.0.0.5:2379: connection refused".to_owned());
        assert_eq!(only(&away).id, ProblemId::MembershipAway);
        away.since_ms = 3000;
        assert_eq!(check(&away), [], "one of its members is restarted");

        for word in ["gone", "held"] {
            let lost = Membership {
                registration: word.to_owned(),
                ..fine()
            };
            assert_eq!(only(&lost).id, ProblemId::MembershipLost);
        }
        let full = Membership {
            own_problem: Some("database space exceeded".to_owned()),
            ..fine()
        };
        assert_eq!(only(&full).id, ProblemId::MembershipUnwritten);
        let full = Membership {
            unwritten: Some("no space left".to_owned()),
            ..fine()
        };
        assert_eq!(only(&full).id, ProblemId::MembershipUnwritten);

        let mut absent = fine();
        absent.members[1].state = MemberState::Absent;
        assert_eq!(only(&absent).text, "absent: web-2");
        for member in &mut absent.members {
            member.state = MemberState::Leaving;
        }
        let problem = only(&absent);
        assert_eq!(problem.id, ProblemId::MembersWait);
        assert!(
            problem.text.ends_with("web-1, web-2, web-3, and 2 others"),
            "{}",
            problem.text
        );

        let mut refused = fine();
        refused.refused.push(control::RefusedMember {
            name: "web-9".to_owned(),
            reason: "no name in [membership.grants] fits to it".to_owned(),
        });
        assert_eq!(only(&refused).id, ProblemId::MemberRefused);
    }
}
