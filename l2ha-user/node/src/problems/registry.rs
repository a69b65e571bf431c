//! What is wrong now, against what was: each problem is said once when it comes, and once when it is over.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use control::{Problem, ProblemId, Severity, Subject};

/// One that comes again so soon after it was said last is said later, and each time later still.
const AGAIN: Duration = Duration::from_secs(60);
/// At most so much later.
const LATEST: Duration = Duration::from_secs(3600);

/// The problems that there are, and those that were.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    known: BTreeMap<(ProblemId, Subject), Known>,
}

#[derive(Debug)]
struct Known {
    /// Since when it is so; none while it is not.
    since: Option<Instant>,
    /// Whether that was said, and so is its end.
    said: bool,
    /// When it was said last.
    last: Option<Instant>,
    /// How long it must not be said again.
    pause: Duration,
    /// How often it came since it was said last.
    unsaid: u64,
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It has come; so many times since it was said last.
    Raised(Problem, u64),
    /// It is over, after so long.
    Cleared(ProblemId, Subject, Duration),
}

impl Registry {
    /// Compares what is wrong now with what was, says what has changed, and gives each problem its age.
    pub(crate) fn update(&mut self, problems: &mut [Problem], now: Instant) {
        for news in self.compare(problems, now) {
            say(&news);
        }
    }

    fn compare(&mut self, problems: &mut [Problem], now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for problem in problems.iter_mut() {
            let key = (problem.id, problem.subject.clone());
            let known = self.known.entry(key).or_insert(Known {
                since: None,
                said: false,
                last: None,
                pause: Duration::ZERO,
                unsaid: 0,
            });
            if known.since.is_none() {
                known.since = Some(now);
                known.unsaid += 1;
            }
            let age = known.since.map_or(Duration::ZERO, |since| now - since);
            problem.since_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let quiet = known.last.is_some_and(|last| now < last + known.pause);
            if known.said || quiet || age < patience(problem.id) {
                continue;
            }
            known.pause = match known.last {
                Some(last) if now < last + known.pause + AGAIN => {
                    (known.pause * 2).clamp(AGAIN, LATEST)
                }
                _ => AGAIN,
            };
            known.said = true;
            known.last = Some(now);
            news.push(News::Raised(
                problem.clone(),
                std::mem::take(&mut known.unsaid),
            ));
        }
        let is_there = |id: &ProblemId, subject: &Subject| {
            problems
                .iter()
                .any(|it| it.id == *id && it.subject == *subject)
        };
        self.known.retain(|(id, subject), known| {
            if is_there(id, subject) {
                return true;
            }
            if let Some(since) = known.since.take()
                && std::mem::take(&mut known.said)
            {
                news.push(News::Cleared(*id, subject.clone(), now - since));
            }
            // It is remembered for as long as it would be a repetition.
            known
                .last
                .is_some_and(|last| now < last + known.pause + AGAIN)
        });
        news
    }
}

/// For how long a problem must have been there before the log says it: these are ordinary for a while
/// at a start.
const fn patience(id: ProblemId) -> Duration {
    match id {
        ProblemId::AdjacencyMissing
        | ProblemId::ServiceWaiting
        | ProblemId::BfdDown
        | ProblemId::BfdOneSided
        | ProblemId::PeerDeaf
        | ProblemId::OspfUnheard
        | ProblemId::PeerWithoutOspf => Duration::from_secs(10),
        ProblemId::RoutingSilent => Duration::from_secs(3),
        _ => Duration::ZERO,
    }
}

/// Whether the log has it from whoever notices it first, with every detail.
const fn is_said_elsewhere(id: ProblemId) -> bool {
    matches!(
        id,
        ProblemId::ServiceFailed
            | ProblemId::ServiceWaiting
            | ProblemId::ReloadRefused
            | ProblemId::RoutingEnded
            | ProblemId::UnderlayUnusable
            | ProblemId::ProgramMissing
            | ProblemId::AdjacencyFlaps
            | ProblemId::NoRoute
            | ProblemId::RouteNotInstalled
    )
}

fn say(news: &News) {
    match news {
        News::Raised(problem, times) => {
            let Problem {
                id,
                severity,
                subject,
                text,
                remedy,
                ..
            } = problem;
            let times = (*times > 1).then_some(times);
            if is_said_elsewhere(*id) {
                tracing::debug!(problem = %id, times, remedy, "{subject}: {text}");
            } else if *severity == Severity::Failed {
                tracing::error!(problem = %id, times, remedy, "{subject}: {text}");
            } else {
                tracing::warn!(problem = %id, times, remedy, "{subject}: {text}");
            }
        }
        News::Cleared(id, subject, after) => {
            let seconds = after.as_secs();
            if is_said_elsewhere(*id) {
                tracing::debug!(problem = %id, seconds, "{subject}: no longer so");
            } else {
                tracing::info!(problem = %id, seconds, "{subject}: no longer so");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(id: ProblemId) -> Problem {
        Problem {
            id,
            severity: Severity::Degraded,
            subject: Subject::Tunnel("client".to_owned()),
            text: "it is so".to_owned(),
            remedy: "mend it".to_owned(),
            since_ms: 0,
        }
    }

    struct Play {
        registry: Registry,
        start: Instant,
    }

    impl Play {
        fn new() -> Self {
            Self {
                registry: Registry::default(),
                start: Instant::now(),
            }
        }

        /// What is said at a second, in few words.
        fn at(&mut self, second: u64, ids: &[ProblemId]) -> Vec<String> {
            let mut problems: Vec<Problem> = ids.iter().map(|id| problem(*id)).collect();
            let now = self.start + Duration::from_secs(second);
            let news = self.registry.compare(&mut problems, now).into_iter();
            news.map(|news| match news {
                News::Raised(it, times) => format!("+{} {times}", it.id),
                News::Cleared(id, _, after) => format!("-{id} {}", after.as_secs()),
            })
            .collect()
        }
    }

    const COOKIE: &[ProblemId] = &[ProblemId::CookieRefused];

    #[test]
    fn it_is_said_once_when_it_comes_and_once_when_it_is_over() {
        let mut play = Play::new();
        assert_eq!(play.at(0, COOKIE), ["+cookie-refused 1"]);
        for second in 1..100 {
            assert_eq!(play.at(second, COOKIE), [""; 0]);
        }
        assert_eq!(play.at(100, &[]), ["-cookie-refused 100"]);
        assert_eq!(play.at(101, &[]), [""; 0]);
        // Much later it is news again.
        assert_eq!(play.at(1000, COOKIE), ["+cookie-refused 1"]);
    }

    #[test]
    fn what_comes_and_goes_is_said_ever_less_often() {
        let mut play = Play::new();
        let mut said = 0;
        for second in 0..3600 {
            let there = second % 2 == 0;
            said += play.at(second, if there { COOKIE } else { &[] }).len();
        }
        // After 0, 60, 180, 420, 900, 1860 seconds, each time with its end.
        assert_eq!(said, 12);
        assert!(play.at(3600, COOKIE).is_empty());
        assert_eq!(play.registry.known.len(), 1);
        assert_eq!(play.at(20_000, &[]), [""; 0]);
        assert_eq!(play.registry.known.len(), 0);
    }

    #[test]
    fn one_that_lasts_is_said_when_the_pause_is_over() {
        let mut play = Play::new();
        assert_eq!(play.at(0, COOKIE), ["+cookie-refused 1"]);
        assert_eq!(play.at(1, &[]), ["-cookie-refused 1"]);
        assert_eq!(play.at(2, COOKIE), [""; 0]);
        assert_eq!(play.at(3, &[]), [""; 0]);
        assert_eq!(play.at(4, COOKIE), [""; 0]);
        assert_eq!(play.at(60, COOKIE), ["+cookie-refused 2"]);
        assert_eq!(play.at(70, &[]), ["-cookie-refused 66"]);
    }

    #[test]
    fn what_is_ordinary_at_a_start_is_shown_and_not_said() {
        let mut play = Play::new();
        let missing = &[ProblemId::AdjacencyMissing];
        assert_eq!(play.at(0, missing), [""; 0]);
        assert_eq!(play.at(3, &[]), [""; 0]);
        assert_eq!(play.at(4, missing), [""; 0]);
        assert_eq!(play.at(14, missing), ["+adjacency-missing 1"]);
    }

    #[test]
    fn each_has_its_age() {
        let mut registry = Registry::default();
        let start = Instant::now();
        let mut problems = [problem(ProblemId::LogLost)];
        registry.compare(&mut problems, start);
        assert_eq!(problems[0].since_ms, 0);
        registry.compare(&mut problems, start + Duration::from_millis(1500));
        assert_eq!(problems[0].since_ms, 1500);
    }
}
