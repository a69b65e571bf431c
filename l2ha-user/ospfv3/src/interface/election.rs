//! The election of the Designated Router and its Backup, RFC 2328 9.4. In OSPFv3 both are known by
//! their Router IDs (RFC 5340 4.1.2).

use std::net::Ipv4Addr;

use super::fsm::Role;

/// What one router on the link says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) router_id: Ipv4Addr,
    /// 0 never takes part.
    pub(crate) priority: u8,
    /// The Designated Router as it sees it, 0.0.0.0 for none.
    pub(crate) dr: Ipv4Addr,
    /// The Backup as it sees it.
    pub(crate) bdr: Ipv4Addr,
}

impl Candidate {
    fn says_dr(&self) -> bool {
        self.dr == self.router_id
    }

    fn says_bdr(&self) -> bool {
        self.bdr == self.router_id
    }
}

/// The result of an election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Elected {
    pub(crate) dr: Option<Ipv4Addr>,
    pub(crate) bdr: Option<Ipv4Addr>,
}

impl Elected {
    pub(crate) fn role_of(&self, router_id: Ipv4Addr) -> Role {
        if self.dr == Some(router_id) {
            Role::Designated
        } else if self.bdr == Some(router_id) {
            Role::Backup
        } else {
            Role::Other
        }
    }
}

/// Elects among ourselves and the neighbours that hear us.
pub(crate) fn elect(own: Candidate, others: &[Candidate]) -> Elected {
    let before = Elected {
        dr: own.says_dr().then_some(own.router_id),
        bdr: own.says_bdr().then_some(own.router_id),
    }
    .role_of(own.router_id);
    let first = round(own, others);
    if first.role_of(own.router_id) == before {
        return first;
    }
    // RFC 2328 9.4 (4): our own part has changed; once more with what we say now.
    let own = Candidate {
        dr: first.dr.unwrap_or(Ipv4Addr::UNSPECIFIED),
        bdr: first.bdr.unwrap_or(Ipv4Addr::UNSPECIFIED),
        ..own
    };
    round(own, others)
}

/// RFC 2328 9.4 (2) and (3).
fn round(own: Candidate, others: &[Candidate]) -> Elected {
    let eligible = || {
        std::iter::once(&own)
            .chain(others)
            .filter(|c| c.priority > 0)
    };
    let best = |candidates: &mut dyn Iterator<Item = &Candidate>| {
        let best = candidates.max_by_key(|c| (c.priority, c.router_id));
        best.map(|c| c.router_id)
    };
    let bdr = best(&mut eligible().filter(|c| !c.says_dr() && c.says_bdr()))
        .or_else(|| best(&mut eligible().filter(|c| !c.says_dr())));
    let dr = best(&mut eligible().filter(|c| c.says_dr())).or(bdr);
    Elected { dr, bdr }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

    fn id(number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(number)
    }

    fn router(number: u32, priority: u8, dr: u32, bdr: u32) -> Candidate {
        let (dr, bdr) = (id(dr), id(bdr));
        Candidate {
            router_id: id(number),
            priority,
            dr,
            bdr,
        }
    }

    fn winners(own: Candidate, others: &[Candidate]) -> (Ipv4Addr, Ipv4Addr) {
        let elected = elect(own, others);
        (elected.dr.unwrap_or(NONE), elected.bdr.unwrap_or(NONE))
    }

    #[test]
    fn at_the_start_the_highest_wins_and_the_next_is_backup() {
        let others = [router(2, 1, 0, 0), router(3, 1, 0, 0)];
        assert_eq!(winners(router(1, 1, 0, 0), &others), (id(3), id(3)));
        // The winner itself sees that it cannot be both, and makes the next one Backup.
        let others = [router(1, 1, 0, 0), router(2, 1, 0, 0)];
        assert_eq!(winners(router(3, 1, 0, 0), &others), (id(3), id(2)));
        // What it then says makes the others agree.
        let others = [router(2, 1, 0, 0), router(3, 1, 3, 2)];
        assert_eq!(winners(router(1, 1, 0, 0), &others), (id(3), id(2)));
        assert_eq!(
            winners(
                router(2, 1, 0, 0),
                &[router(1, 1, 0, 0), router(3, 1, 3, 2)]
            ),
            (id(3), id(2))
        );
    }

    #[test]
    fn the_designated_router_keeps_its_role() {
        let others = [router(1, 1, 1, 2), router(2, 1, 1, 2)];
        assert_eq!(winners(router(9, 200, 0, 0), &others), (id(1), id(2)));
    }

    #[test]
    fn the_backup_succeeds() {
        let others = [router(3, 1, 1, 2)];
        assert_eq!(winners(router(2, 1, 1, 2), &others), (id(2), id(3)));
    }

    #[test]
    fn priority_before_router_id_and_zero_never() {
        let others = [router(2, 9, 0, 0), router(3, 0, 0, 0)];
        assert_eq!(winners(router(1, 1, 0, 0), &others).0, id(2));
        assert_eq!(
            winners(router(1, 0, 0, 0), &[router(3, 0, 0, 0)]),
            (NONE, NONE)
        );
        assert_eq!(winners(router(1, 1, 0, 0), &[]), (id(1), NONE), "alone");
    }

    #[test]
    fn two_halves_that_meet_again_keep_the_higher() {
        let others = [router(2, 1, 2, 3), router(3, 1, 2, 3)];
        assert_eq!(winners(router(1, 1, 1, 0), &others), (id(2), id(3)));
    }
}
