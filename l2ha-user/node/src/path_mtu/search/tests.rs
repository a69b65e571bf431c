use super::*;

/// A way that carries packets up to a size, in virtual time; the peer may be away.
struct Way {
    now: Instant,
    search: Search,
    /// Nobody answers while it is 0.
    carries: u16,
    /// Of so many probes one is lost.
    loss: u32,
    sent: u32,
    /// On their way.
    answers: Vec<(Instant, u16)>,
    random: u32,
    round_trip: Duration,
}

impl Way {
    fn new(largest: u16, carries: u16) -> Self {
        let now = Instant::now();
        Self {
            now,
            search: Search::new(now, largest, None),
            carries,
            loss: u32::MAX,
            sent: 0,
            answers: Vec::new(),
            random: 1,
            round_trip: Duration::from_millis(20),
        }
    }

    fn is_lost(&mut self) -> bool {
        self.random = self
            .random
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        (self.random >> 8).is_multiple_of(self.loss)
    }

    /// Goes on for some time, with answers that arrive in time.
    fn go(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.answers.sort_unstable();
            let due = self.search.due();
            let next = self.answers.first().map_or(due, |(at, _)| due.min(*at));
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            while self.answers.first().is_some_and(|(at, _)| *at <= self.now) {
                let (_, size) = self.answers.remove(0);
                self.search.answered(self.now, size);
            }
            for size in self.search.poll(self.now) {
                self.sent += 1;
                if size <= self.carries && !self.is_lost() {
                    self.answers.push((self.now + self.round_trip, size));
                }
            }
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn all_fits_is_known_at_once_and_confirmed_with_a_probe_now_and_then() {
    let mut way = Way::new(1442, 1442);
    way.go(SECOND / 10);
    assert_eq!(way.search.fits(), Some(1442));
    let before = way.sent;
    way.go(100 * SECOND);
    assert!((30..=33).contains(&(way.sent - before)), "{}", way.sent);
    assert_eq!(way.search.mtu(), 1442);
}

#[test]
fn what_fits_is_found_to_the_byte() {
    for largest in [1280, 1281, 1442, 1500, 8942, 65_521] {
        let some = (0..40).map(|step| {
            let gap = u32::from(largest - SMALLEST);
            SMALLEST + u16::try_from(gap * step / 39).unwrap()
        });
        for carries in some.chain([BASE - 1, BASE, BASE + 1, largest.saturating_add(100)]) {
            let mut way = Way::new(largest, carries);
            // After the first round there is something to go on with.
            way.go(Duration::from_millis(1_300));
            let first = way.search.mtu();
            assert!(first <= carries.max(BASE), "{first} for {carries}");
            way.go(Duration::from_millis(6_000));
            let fits = way.search.fits();
            assert_eq!(fits, Some(carries.min(largest)), "{carries} of {largest}");
            assert_eq!(way.search.mtu(), carries.clamp(BASE, largest));
        }
    }
}

#[test]
fn a_way_that_narrows_is_noticed_within_seconds_and_one_that_widens_within_a_minute() {
    let mut way = Way::new(1442, 1442);
    way.go(SECOND);
    way.carries = 1342;
    // Confirmation, its loss, and the first round of the search.
    way.go(Duration::from_millis(4_500));
    assert!(way.search.mtu() <= 1342 && way.search.mtu() > 1320);
    way.go(4 * SECOND);
    assert_eq!(way.search.fits(), Some(1342));
    way.carries = 1400;
    way.go(66 * SECOND);
    assert_eq!(way.search.fits(), Some(1400));
    way.carries = 1442;
    way.go(66 * SECOND);
    assert_eq!(way.search.fits(), Some(1442));
}

#[test]
fn a_reload_looks_anew_at_once() {
    let mut way = Way::new(1442, 1342);
    way.go(10 * SECOND);
    assert_eq!(way.search.fits(), Some(1342));
    way.carries = 1442;
    way.go(SECOND);
    way.search.restart(way.now);
    way.go(SECOND / 10);
    assert_eq!(way.search.fits(), Some(1442));
}

#[test]
fn a_peer_that_does_not_answer_teaches_nothing() {
    let mut way = Way::new(1442, 0);
    way.go(600 * SECOND);
    assert_eq!((way.search.fits(), way.search.mtu()), (None, 1442));
    // And costs little.
    assert!(way.sent < 160, "{}", way.sent);
    way.carries = 1442;
    way.go(6 * SECOND);
    assert_eq!(way.search.fits(), Some(1442));
    // Away again, for a while in which the way narrows.
    way.carries = 0;
    way.go(60 * SECOND);
    assert_eq!(way.search.mtu(), 1442);
    way.carries = 1342;
    way.go(10 * SECOND);
    assert_eq!(way.search.fits(), Some(1342));
    way.carries = 0;
    way.go(60 * SECOND);
    assert_eq!(way.search.mtu(), 1342);
}

#[test]
fn what_an_earlier_daemon_has_found_holds_until_something_else_is_known() {
    let now = Instant::now();
    let mut way = Way::new(1442, 0);
    way.search = Search::new(now, 1442, Some(1342));
    way.go(10 * SECOND);
    assert_eq!(way.search.mtu(), 1342);
    way.carries = 1442;
    way.go(2 * SECOND);
    assert_eq!(way.search.mtu(), 1442);
}

#[test]
fn a_hint_is_looked_into_and_not_believed() {
    let mut way = Way::new(1442, 1442);
    way.go(SECOND);
    // Spoofed.
    let mut followed = 0;
    for _ in 0..1000 {
        followed += u32::from(way.search.hint(way.now, 600));
        way.go(SECOND / 100);
        assert_eq!(way.search.mtu(), 1442);
    }
    assert_eq!(followed, 2);
    assert!(!way.search.hint(way.now, 1442), "nothing new");
    // True: what it says is tried, so one round is enough.
    way.go(10 * SECOND);
    way.carries = 1342;
    assert!(way.search.hint(way.now, 1342));
    way.go(Duration::from_millis(1100));
    assert_eq!(way.search.mtu(), 1342);
}

#[test]
fn loss_alone_hardly_ever_lowers_it_and_never_for_long() {
    let mut way = Way::new(1442, 1442);
    way.loss = 5;
    way.go(SECOND);
    let mut lowered = 0;
    for _ in 0..3600 {
        way.go(SECOND);
        lowered += u32::from(way.search.mtu() < 1442);
    }
    // 20 % in one hour.
    assert!(lowered < 180, "for {lowered} s");
}

#[test]
fn a_long_way_is_no_narrow_one() {
    let mut way = Way::new(1442, 1442);
    way.round_trip = Duration::from_millis(600);
    way.go(60 * SECOND);
    assert_eq!(way.search.fits(), Some(1442));
    way.round_trip = Duration::from_secs(3);
    way.go(600 * SECOND);
    assert_eq!(way.search.mtu(), 1442);
}

#[test]
fn another_interface_mtu_is_taken_over() {
    let mut way = Way::new(1442, 1342);
    way.go(10 * SECOND);
    way.search.set_largest(way.now, 1300);
    assert_eq!(way.search.mtu(), 1300);
    way.go(SECOND);
    assert_eq!(way.search.fits(), Some(1300));
    way.search.set_largest(way.now, 1442);
    way.go(10 * SECOND);
    assert_eq!(way.search.fits(), Some(1342));
}
