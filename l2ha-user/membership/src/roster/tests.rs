//! The roster, step by step and in any order.

use config::Role;
use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn at(seconds: u64) -> Time {
    Duration::from_secs(1_000_000 + seconds)
}

fn id(number: u8) -> Id {
    Id::new([number; 16])
}

fn joined(name: &str, last: u8) -> Joined {
    Joined {
        name: name.to_owned(),
        role: Role::Client,
        addresses: vec![[10, 0, 0, last].into()],
        local_addresses: Vec::new(),
        interface: None,
        port: None,
        mtu: None,
        services: Vec::new(),
    }
}

/// An etcd that keeps what is written, as the roster's tests see it.
#[derive(Clone, Debug, Default)]
struct Etcd {
    now: Time,
    revision: i64,
    keys: BTreeMap<String, (Key, Vec<u8>, i64)>,
}

impl Etcd {
    fn put(&mut self, key: Key, value: impl Into<Vec<u8>>) -> Item {
        self.revision += 1;
        let value = value.into();
        let item = Item {
            key: key.clone(),
            value: Some(value.clone()),
            revision: self.revision,
        };
        self.keys
            .insert(key.below("/"), (key, value, self.revision));
        item
    }

    fn delete(&mut self, key: Key) -> Item {
        self.revision += 1;
        self.keys.remove(&key.below("/"));
        Item {
            key,
            value: None,
            revision: self.revision,
        }
    }

    fn node(&mut self, name: &str, host: u8, serial: u64, last: u8) -> Item {
        let record = Record::new(id(host), serial, What::Node(joined(name, last)));
        self.put(Key::Member(name.to_owned()), record.to_value())
    }

    fn gone(&mut self, name: &str, host: u8, serial: u64) -> Item {
        let record = Record::new(
            id(host),
            serial,
            What::Gone(Gone {
                cause: Cause::Left,
                at: self.now.as_secs(),
            }),
        );
        self.put(Key::Member(name.to_owned()), record.to_value())
    }

    fn alive(&mut self, name: &str, host: u8) -> Item {
        self.put(Key::Alive(name.to_owned()), id(host).to_string())
    }

    fn dead(&mut self, name: &str) -> Item {
        self.delete(Key::Alive(name.to_owned()))
    }

    fn accept(&mut self, names: &[&str]) -> Item {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let value = serde_json::to_string(&Accepted { names }).unwrap();
        self.put(Key::Accept, value)
    }

    fn items(&self) -> Vec<Item> {
        let items = self.keys.values().map(|(key, value, revision)| Item {
            key: key.clone(),
            value: Some(value.clone()),
            revision: *revision,
        });
        items.collect()
    }
}

/// A roster that watches an etcd.
struct Lab {
    etcd: Etcd,
    roster: Roster,
}

impl Lab {
    /// With nodes n1 and so on, each by its host of that number, all present, and long ago.
    fn new(count: u8) -> Self {
        let mut lab = Self {
            etcd: Etcd::default(),
            roster: Roster::default(),
        };
        lab.roster.local = 2;
        for number in 1..=count {
            let name = format!("n{number}");
            lab.etcd.node(&name, number, 1, number);
            lab.etcd.alive(&name, number);
        }
        lab.connect(0);
        lab
    }

    fn connect(&mut self, seconds: u64) {
        let items = self.etcd.items();
        self.roster
            .snapshot(at(seconds), 7, self.etcd.revision, &items);
    }

    fn hear(&mut self, seconds: u64, change: impl FnOnce(&mut Etcd) -> Item) {
        self.etcd.now = at(seconds);
        let item = change(&mut self.etcd);
        self.roster.changes(at(seconds), item.revision, &[item]);
    }

    fn names(&self) -> Vec<String> {
        let names = self.roster.nodes().into_iter();
        names.map(|node| node.name).collect()
    }

    fn presence(&self, name: &str) -> Option<Presence> {
        let members = self.roster.members();
        let mut nodes = members.nodes.into_iter();
        Some(nodes.find(|(node, _)| node.name == name)?.1)
    }

    fn address(&self, name: &str) -> String {
        let node = self
            .roster
            .nodes()
            .into_iter()
            .find(|node| node.name == name);
        node.unwrap().addresses[0].to_string()
    }
}

#[test]
fn a_lease_that_ran_out_marks_a_node_absent_and_its_return_present() {
    let mut lab = Lab::new(3);
    assert_eq!(lab.presence("n2"), Some(Presence::Present));
    lab.hear(5, |etcd| etcd.dead("n2"));
    assert_eq!(lab.presence("n2"), Some(Presence::Absent(1_000_005)));
    assert_eq!(lab.names(), ["n1", "n2", "n3"]);
    lab.hear(9, |etcd| etcd.alive("n2", 2));
    assert_eq!(lab.presence("n2"), Some(Presence::Present));
    // The key of another host is not its own.
    lab.hear(10, |etcd| etcd.alive("n2", 66));
    assert_eq!(lab.presence("n2"), Some(Presence::Absent(1_000_010)));
}

#[test]
fn a_node_that_leaves_is_gone_and_one_that_etcd_does_not_have_is_absent() {
    let mut lab = Lab::new(3);
    lab.hear(5, |etcd| etcd.gone("n2", 2, 1));
    assert_eq!(lab.names(), ["n1", "n3"]);
    lab.hear(6, |etcd| etcd.delete(Key::Member("n3".to_owned())));
    lab.hear(6, |etcd| etcd.dead("n3"));
    assert_eq!(lab.names(), ["n1", "n3"]);
    lab.etcd = Etcd::default();
    lab.connect(60);
    assert_eq!(lab.names(), ["n1", "n3"]);
    assert_eq!(lab.presence("n1"), Some(Presence::Absent(1_000_060)));
    assert_eq!(lab.roster.seen().restored, 1);
}

#[test]
fn a_held_name_is_nobody_elses_until_its_host_has_left() {
    let mut lab = Lab::new(3);
    lab.hear(5, |etcd| etcd.dead("n2"));
    lab.hear(6, |etcd| etcd.node("n2", 66, 9, 66));
    assert_eq!(lab.address("n2"), "10.0.0.2");
    assert!(lab.roster.members().refused["n2"].contains("has not left"));
    lab.hear(7, |etcd| etcd.gone("n2", 66, 9));
    assert_eq!(
        lab.address("n2"),
        "10.0.0.2",
        "only its own host can say that it left"
    );
    lab.hear(8, |etcd| etcd.gone("n2", 2, 1));
    lab.hear(9, |etcd| etcd.node("n2", 66, 10, 66));
    assert_eq!(lab.address("n2"), "10.0.0.66");
    assert!(lab.roster.members().refused.is_empty());
}

#[test]
fn a_host_can_say_something_new_of_itself_and_an_older_record_says_nothing() {
    let mut lab = Lab::new(3);
    lab.hear(5, |etcd| etcd.node("n2", 2, 2, 22));
    assert_eq!(lab.address("n2"), "10.0.0.22");
    lab.hear(6, |etcd| etcd.node("n2", 2, 1, 2));
    assert_eq!(lab.address("n2"), "10.0.0.22");
    lab.hear(6, |etcd| etcd.gone("n2", 2, 1));
    assert_eq!(lab.address("n2"), "10.0.0.22");
    assert_eq!(lab.roster.seen().stale, 2);
    assert_eq!(lab.names(), ["n1", "n2", "n3"], "its place is the same");
}

#[test]
fn who_left_does_not_come_back_with_a_backup_and_can_join_anew() {
    let mut lab = Lab::new(3);
    let backup = lab.etcd.clone();
    lab.hear(5, |etcd| etcd.gone("n2", 2, 1));
    lab.etcd = backup;
    lab.connect(10);
    assert_eq!(lab.names(), ["n1", "n3"]);
    lab.hear(11, |etcd| etcd.node("n2", 2, 2, 2));
    assert_eq!(lab.names(), ["n1", "n3", "n2"]);
}

#[test]
fn a_backup_in_which_a_node_has_left_does_not_take_it_away_after_it_has_joined_again() {
    let mut lab = Lab::new(3);
    lab.hear(5, |etcd| etcd.gone("n2", 2, 1));
    let backup = lab.etcd.clone();
    lab.hear(20, |etcd| etcd.node("n2", 77, 5, 2));
    lab.etcd = backup;
    lab.connect(40);
    assert_eq!(lab.names(), ["n1", "n3", "n2"]);
    lab.hear(41, |etcd| etcd.node("n2", 77, 5, 2));
    assert_eq!(lab.names(), ["n1", "n3", "n2"]);
}

#[test]
fn more_than_a_third_waits_until_an_operator_has_accepted_it() {
    // Nine and two of the file: three may go at once.
    let mut lab = Lab::new(9);
    for (number, second) in [(1, 0), (2, 1), (3, 2), (4, 3)] {
        lab.hear(second, |etcd| etcd.gone(&format!("n{number}"), number, 1));
    }
    assert_eq!(lab.names(), ["n4", "n5", "n6", "n7", "n8", "n9"]);
    assert_eq!(lab.presence("n4"), Some(Presence::Leaving(Cause::Left)));
    assert_eq!(lab.roster.waiting(), BTreeSet::from(["n4".to_owned()]));
    lab.hear(500, |etcd| etcd.accept(&["n5"]));
    assert_eq!(lab.names().len(), 6, "n5 has not left");
    lab.hear(501, |etcd| etcd.accept(&["n4"]));
    assert_eq!(lab.names(), ["n5", "n6", "n7", "n8", "n9"]);
    // Slowly, everybody can.
    for (number, second) in [(5, 600), (6, 611), (7, 622)] {
        lab.hear(second, |etcd| etcd.gone(&format!("n{number}"), number, 1));
    }
    assert_eq!(lab.names(), ["n8", "n9"]);
}

#[test]
fn what_would_take_too_many_away_at_once_takes_none_away() {
    let mut lab = Lab::new(9);
    for number in 1..=6 {
        lab.etcd.gone(&format!("n{number}"), number, 1);
    }
    lab.connect(100);
    assert_eq!(lab.names().len(), 9);
    assert_eq!(lab.roster.waiting().len(), 6);
    // Who starts later, with an older list, follows what was accepted.
    let mut late = lab.roster.clone();
    let accepted = lab.etcd.accept(&["n1", "n2", "n3", "n4", "n5", "n6"]);
    lab.roster.changes(at(101), accepted.revision, &[accepted]);
    assert_eq!(lab.names(), ["n7", "n8", "n9"]);
    late.snapshot(at(300), 7, lab.etcd.revision, &lab.etcd.items());
    assert_eq!(late.nodes(), lab.roster.nodes());
    // And it says nothing of what is written after it.
    for number in 7..=9 {
        lab.hear(400, |etcd| {
            etcd.node(&format!("n{number}"), number, 2, number)
        });
    }
    for number in 7..=9 {
        lab.etcd.gone(&format!("n{number}"), number, 2);
    }
    lab.connect(500);
    assert_eq!(lab.names().len(), 3);
}

#[test]
fn who_was_away_while_nodes_left_one_by_one_follows_them() {
    let mut lab = Lab::new(9);
    let mut late = lab.roster.clone();
    for number in 1..=6 {
        let second = 20 * u64::from(number);
        lab.hear(second, |etcd| etcd.gone(&format!("n{number}"), number, 1));
    }
    assert_eq!(lab.names(), ["n7", "n8", "n9"]);
    late.snapshot(at(500), 7, lab.etcd.revision, &lab.etcd.items());
    assert_eq!(late.nodes(), lab.roster.nodes());
    // Somebody whose clock is wrong is no way around the rule.
    let mut lab = Lab::new(9);
    for number in 1..=6 {
        lab.etcd.now = at(100_000 + 100 * u64::from(number));
        lab.etcd.gone(&format!("n{number}"), number, 1);
    }
    lab.connect(30);
    assert_eq!(lab.names().len(), 9);
}

#[test]
fn those_who_wait_do_not_hold_up_who_leaves_later() {
    let mut lab = Lab::new(9);
    for number in 1..=5 {
        lab.hear(1, |etcd| etcd.gone(&format!("n{number}"), number, 1));
    }
    let waiting = lab.roster.waiting();
    assert_eq!(waiting.into_iter().collect::<Vec<_>>(), ["n4", "n5"]);
    lab.hear(60, |etcd| etcd.gone("n9", 9, 1));
    assert_eq!(lab.names(), ["n4", "n5", "n6", "n7", "n8"]);
}

#[test]
fn one_can_always_go() {
    let mut lab = Lab::new(1);
    lab.roster.local = 0;
    lab.hear(5, |etcd| etcd.gone("n1", 1, 1));
    assert_eq!(lab.names(), [""; 0]);
}

#[test]
fn absence_counts_while_etcd_is_there_and_not_when_the_clock_is_set() {
    let mut lab = Lab::new(3);
    lab.hear(0, |etcd| etcd.dead("n2"));
    for second in 1..=100 {
        lab.roster.tick(at(second));
    }
    lab.roster.disconnected();
    for second in 100..1000 {
        lab.roster.tick(at(second));
    }
    lab.connect(1000);
    lab.roster.tick(at(1000) + 30 * DAY);
    assert_eq!(lab.roster.overdue(DAY), []);
    assert_eq!(lab.roster.overdue(Duration::from_secs(161)), []);
    let overdue = lab.roster.overdue(Duration::from_secs(160));
    assert_eq!(overdue, [("n2".to_owned(), id(2), 1)]);
    lab.hear(2000, |etcd| etcd.alive("n2", 2));
    assert_eq!(lab.roster.overdue(Duration::from_secs(1)), []);
}

#[test]
fn a_node_knows_what_became_of_its_own_record_and_never_takes_itself_away() {
    let mut lab = Lab::new(3);
    assert_eq!(lab.roster.registration(), Registration::None);
    lab.roster.own = Some(Identity {
        name: "n2".to_owned(),
        id: id(2),
        serial: 1,
    });
    lab.connect(1);
    assert_eq!(lab.roster.registration(), Registration::Fine);
    assert!(lab.roster.is_own_alive());
    let before = lab.etcd.clone();
    lab.hear(2, |etcd| etcd.gone("n2", 2, 1));
    assert_eq!(lab.roster.registration(), Registration::Gone(Cause::Left));
    assert_eq!(lab.names(), ["n1", "n2", "n3"]);
    lab.etcd = Etcd::default();
    lab.connect(3);
    assert_eq!(lab.roster.registration(), Registration::Missing);
    lab.etcd = before;
    lab.hear(4, |etcd| etcd.node("n2", 2, 9, 2));
    assert_eq!(
        lab.roster.registration(),
        Registration::Held,
        "a copy of this host"
    );
    lab.hear(5, |etcd| etcd.node("n2", 66, 1, 2));
    assert_eq!(lab.roster.registration(), Registration::Held);
    lab.hear(6, |etcd| etcd.gone("n2", 66, 1));
    assert_eq!(lab.roster.registration(), Registration::Missing);
}

#[test]
fn damaged_values_are_counted_and_change_nothing() {
    let mut lab = Lab::new(3);
    let before = lab.roster.members().nodes;
    for number in 0..200 {
        let name = format!("bad-{number}");
        lab.hear(1, |etcd| etcd.put(Key::Member(name), *b"{\"version\":1"));
    }
    lab.hear(1, |etcd| etcd.put(Key::Accept, *b"[]"));
    lab.hear(1, |etcd| {
        etcd.put(Key::Member("n1".to_owned()), [0xff; 5000])
    });
    assert_eq!(lab.roster.members().nodes, before);
    assert_eq!(lab.roster.seen().refused, 202);
    assert!(lab.roster.members().refused.len() <= MOST_REFUSED);
}

/// What can happen.
#[derive(Clone, Debug)]
enum Step {
    Join { name: u8, host: u8, serial: u64 },
    Leave { name: u8, host: u8, serial: u64 },
    Alive { name: u8, host: u8 },
    Dead { name: u8 },
    Drop { name: u8 },
    Accept { names: Vec<u8> },
    Rubbish { name: u8, value: Vec<u8> },
    Pause { seconds: u64 },
    Reconnect,
    Restore,
    Backup,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..12_u8;
    let host = 0..3_u8;
    let serial = 0..4_u64;
    let step = prop_oneof![
        6 => (name.clone(), host.clone(), serial.clone()).prop_map(|(name, host, serial)| Step::Join { name, host, serial }),
        4 => (name.clone(), host.clone(), serial).prop_map(|(name, host, serial)| Step::Leave { name, host, serial }),
        2 => (name.clone(), host).prop_map(|(name, host)| Step::Alive { name, host }),
        1 => name.clone().prop_map(|name| Step::Dead { name }),
        1 => name.clone().prop_map(|name| Step::Drop { name }),
        1 => prop::collection::vec(name.clone(), 0..6).prop_map(|names| Step::Accept { names }),
        1 => (name, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(name, value)| Step::Rubbish { name, value }),
        2 => (0..30_u64).prop_map(|seconds| Step::Pause { seconds }),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restore),
        1 => Just(Step::Backup),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    /// Whatever is written, by whomever: a name goes to another host only after a record of its own host's end, no
    /// more than a third go at once without an operator, and this node itself stays.
    #[test]
    fn nothing_that_is_written_tears_a_cluster_down(steps in steps()) {
        let mut lab = Lab::new(9);
        lab.roster.own = Some(Identity { name: "n1".to_owned(), id: id(1), serial: 1 });
        let mut backup = lab.etcd.clone();
        let mut now = 0;
        // Whose end was written, ever: name and host.
        let mut ended: BTreeSet<(String, Id)> = BTreeSet::new();
        let mut went: Vec<u64> = Vec::new();
        for step in steps {
            let before: BTreeMap<String, Id> =
                lab.roster.entries.iter().map(|(name, it)| (name.clone(), it.id)).collect();
            let mut accepted = false;
            let named = |name: u8| format!("n{name}");
            match step {
                Step::Join { name, host, serial } => lab.hear(now, |etcd| etcd.node(&named(name), name + 20 * host, serial, name)),
                Step::Leave { name, host, serial } => {
                    ended.insert((named(name), id(name + 20 * host)));
                    lab.hear(now, |etcd| etcd.gone(&named(name), name + 20 * host, serial));
                }
                Step::Alive { name, host } => lab.hear(now, |etcd| etcd.alive(&named(name), name + 20 * host)),
                Step::Dead { name } => lab.hear(now, |etcd| etcd.dead(&named(name))),
                Step::Drop { name } => lab.hear(now, |etcd| etcd.delete(Key::Member(named(name)))),
                Step::Accept { names } => {
                    accepted = true;
                    let names: Vec<String> = names.into_iter().map(named).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    lab.hear(now, |etcd| etcd.accept(&names));
                }
                Step::Rubbish { name, value } => lab.hear(now, |etcd| etcd.put(Key::Member(named(name)), value)),
                Step::Pause { seconds } => {
                    now += seconds;
                    lab.roster.tick(at(now));
                }
                Step::Reconnect => {
                    lab.roster.disconnected();
                    accepted = true;
                    lab.connect(now);
                }
                Step::Restore => {
                    accepted = true;
                    lab.etcd = backup.clone();
                    lab.connect(now);
                }
                Step::Backup => backup = lab.etcd.clone(),
            }
            prop_assert!(lab.roster.entries.contains_key("n1"));
            prop_assert_eq!(lab.roster.entries["n1"].id, id(1));
            let mut gone = 0;
            for (name, host) in &before {
                let after = lab.roster.entries.get(name).map(|it| it.id);
                if after != Some(*host) {
                    prop_assert!(ended.contains(&(name.clone(), *host)), "{} lost its name to {:?}", name, after);
                    gone += usize::from(after.is_none());
                }
            }
            // What an operator has accepted is not counted, and shows here only as a step that could carry it.
            if !accepted {
                went.extend(std::iter::repeat_n(now, gone));
                let lately = went.iter().filter(|at| now - **at < 10).count();
                let all = lab.roster.local + before.len() + lately;
                prop_assert!(gone == 0 || lately <= (all / 3).max(1), "{} of {} went within 10 s", lately, all);
            }
        }
    }

    /// A node that was away comes to the same list as one that was there.
    #[test]
    fn who_reads_later_comes_to_the_same_records(names in prop::collection::btree_set(1..40_u8, 1..20)) {
        let mut lab = Lab::new(0);
        for name in &names {
            lab.hear(1, |etcd| etcd.node(&format!("n{name}"), *name, 1, *name));
        }
        let mut late = Roster { local: 2, ..Roster::default() };
        late.snapshot(at(9), 7, lab.etcd.revision, &lab.etcd.items());
        prop_assert_eq!(late.nodes(), lab.roster.nodes());
    }
}
