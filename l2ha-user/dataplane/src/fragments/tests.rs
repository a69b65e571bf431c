use super::*;

const LOCAL: [&str; 2] = ["10.77.0.1", "fd77::1"];
const REMOTE: [&str; 2] = ["10.77.0.2", "fd77::2"];

fn way(v6: bool) -> Way {
    let at = usize::from(v6);
    (LOCAL[at].parse().unwrap(), REMOTE[at].parse().unwrap())
}

fn new() -> Fragments {
    Fragments::new([way(false), way(true)].into())
}

/// A UDP packet with a checksum that is right.
fn udp(v6: bool, length: usize) -> Vec<u8> {
    let mut udp: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
    udp[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    udp[6..8].fill(0);
    let (local, remote) = way(v6);
    let mut all = Vec::new();
    for address in [local, remote] {
        match address {
            IpAddr::V4(address) => all.extend(address.octets()),
            IpAddr::V6(address) => all.extend(address.octets()),
        }
    }
    all.extend([0, 17]);
    all.extend((length as u16).to_be_bytes());
    all.extend(&udp);
    all.resize(all.len().next_multiple_of(2), 0);
    let sum = wire::checksum_finish(wire::checksum_sum(&all));
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    udp
}

/// A piece of a payload, from one place up to another.
fn piece(v6: bool, id: u32, payload: &[u8], from: usize, to: usize) -> Vec<u8> {
    let (local, remote) = way(v6);
    let more = to < payload.len();
    let bytes = &payload[from..to];
    let mut packet = Vec::new();
    match (local, remote) {
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            let total = (20 + bytes.len()) as u16;
            let place = (from / 8) as u16 | if more { MORE_V4 } else { 0 };
            packet.extend([0x45, 0]);
            for word in [total, id as u16, place] {
                packet.extend(word.to_be_bytes());
            }
            packet.extend([64, 17, 0, 0]);
            packet.extend(remote.octets());
            packet.extend(local.octets());
        }
        (IpAddr::V6(local), IpAddr::V6(remote)) => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((8 + bytes.len() as u16).to_be_bytes());
            packet.extend([FRAGMENT, 64]);
            packet.extend(remote.octets());
            packet.extend(local.octets());
            packet.extend([17, 0]);
            packet.extend((from as u16 | u16::from(more)).to_be_bytes());
            packet.extend(id.to_be_bytes());
        }
        _ => unreachable!(),
    }
    packet.extend(bytes);
    packet
}

fn whole(taken: Taken) -> Vec<u8> {
    match taken {
        Taken::Whole(packet) => packet,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pieces_make_the_packet_in_whatever_order() {
    let now = Instant::now();
    for v6 in [false, true] {
        let header = if v6 { IPV6 } else { IPV4 };
        for length in [1500, 1501, 4001] {
            let payload = udp(v6, length);
            let cuts = [0, 800, 1600, 2400, length];
            let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= length).collect();
            let mut pieces: Vec<Vec<u8>> = cuts
                .windows(2)
                .map(|cut| piece(v6, 9, &payload, cut[0], cut[1]))
                .collect();
            for _ in 0..pieces.len() {
                pieces.rotate_left(1);
                let mut fragments = new();
                let (last, others) = pieces.split_last().unwrap();
                for other in others {
                    assert_eq!(fragments.take(now, other), Taken::Kept);
                    // Once more is no harm.
                    assert_eq!(fragments.take(now, other), Taken::Kept);
                }
                let packet = whole(fragments.take(now, last));
                assert_eq!(packet[ETHERNET + header..], payload);
                // As the programs want it.
                if !v6 {
                    let ip = &packet[ETHERNET..ETHERNET + IPV4];
                    assert_eq!(wire::checksum_finish(wire::checksum_sum(ip)), 0);
                    assert_eq!(ip[6..8], [0, 0]);
                }
                assert_eq!(fragments.given_up(), 0);
            }
        }
    }
}

#[test]
fn what_does_not_go_together_is_dropped() {
    let now = Instant::now();
    for v6 in [false, true] {
        let payload = udp(v6, 1500);
        // Overlapping, and a length that is no multiple of 8.
        let mut fragments = new();
        fragments.take(now, &piece(v6, 1, &payload, 0, 800));
        let overlapping = piece(v6, 1, &payload, 792, 1500);
        assert_eq!(fragments.take(now, &overlapping), Taken::Damaged);
        let uneven = piece(v6, 2, &payload, 0, 801);
        assert_eq!(fragments.take(now, &uneven), Taken::Damaged);
        // A byte that the checksum does not know.
        fragments.take(now, &piece(v6, 3, &payload, 0, 800));
        let mut other = payload.clone();
        other[1000] ^= 1;
        let wrong = piece(v6, 3, &other, 800, 1500);
        assert_eq!(fragments.take(now, &wrong), Taken::Damaged);
        // Two ends.
        fragments.take(now, &piece(v6, 4, &payload, 800, 1500));
        let longer = udp(v6, 1600);
        let end = piece(v6, 4, &longer, 1504, 1600);
        assert_eq!(fragments.take(now, &end), Taken::Damaged);
        // Nothing of all that is left.
        assert_eq!(fragments.waiting[&way(v6)].len(), 0);
    }
}

#[test]
fn what_is_whole_or_nobodys_is_foreign_and_nothing_panics() {
    let now = Instant::now();
    for v6 in [false, true] {
        let payload = udp(v6, 1500);
        let good = piece(v6, 1, &payload, 0, 800);
        for length in 0..good.len() {
            let taken = new().take(now, &good[..length]);
            assert_eq!(taken, Taken::Foreign, "{length}");
        }
        let mut stranger = good.clone();
        stranger[if v6 { 23 } else { 15 }] ^= 0x40;
        assert_eq!(new().take(now, &stranger), Taken::Foreign);
        for at in 0..60 {
            for value in 0..=u8::MAX {
                let mut other = good.clone();
                other[at] = value;
                let _ = new().take(now, &other);
            }
        }
    }
}

#[test]
fn the_newest_has_room_whatever_the_remotes_address_brings() {
    let now = Instant::now();
    let payload = udp(false, 1500);
    let mut fragments = new();
    for id in 0..10_000 {
        // First pieces that nothing follows, as from somebody who writes the remote's address.
        fragments.take(now, &piece(false, 10 + id, &payload, 0, 1496));
        if id % 1000 == 0 {
            fragments.take(now, &piece(false, 1, &payload, 0, 800));
            whole(fragments.take(now, &piece(false, 1, &payload, 800, 1500)));
        }
        let waiting = &fragments.waiting[&way(false)];
        let bytes: usize = waiting.iter().map(Waiting::bytes).sum();
        assert!(waiting.len() <= MOST && bytes <= MOST_BYTES);
    }
    assert_eq!(fragments.given_up(), 10_000 - MOST as u64);
    // The rest goes with time.
    fragments.take(now + PATIENCE, &piece(false, 1, &payload, 0, 800));
    assert_eq!(fragments.waiting[&way(false)].len(), 1);
}
