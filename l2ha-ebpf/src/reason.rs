//! Why a packet was refused, or passed on although it was addressed to us.
//!
//! One number is shared by the programs (index into the counters), the daemon and the command.

/// A reason, counted each time it decides about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Reason {
    /// L2TPv3 control message, left to the kernel (RFC 3931 4.1.1, 4.1.2).
    PassedControl = 0,
    /// IP fragment, left to the kernel's reassembly.
    PassedFragment = 1,
    /// The outer packet ends before the L2TPv3 header does.
    ShortHeader = 2,
    /// The version in the L2TPv3 header is not 3.
    BadVersion = 3,
    /// No session has this id at this local address and port.
    UnknownSession = 4,
    /// The outer source address is not the session's peer.
    WrongSourceAddress = 5,
    /// The outer source port is not the session's peer.
    WrongSourcePort = 6,
    /// The length in the outer IP header does not fit the frame it came in.
    BadIpLength = 7,
    /// The checksum of the outer IPv4 header is wrong.
    BadIpChecksum = 8,
    /// The length in the outer UDP header is not the one the IP header leaves for it.
    BadUdpLength = 9,
    /// The cookie is not the one the session expects (RFC 3931 4.1).
    WrongCookie = 10,
    /// What is inside is shorter than an Ethernet header.
    ShortFrame = 11,
    /// The kernel could not strip the outer headers.
    DecapFailed = 12,
    /// No session belongs to the virtual interface.
    UnknownInterface = 13,
    /// The kernel could not make room for the outer headers.
    EncapFailed = 14,
    /// A frame that is segmented later (GSO) and cannot be inside a pseudowire.
    GsoUnsupported = 15,
    /// With its outer headers the frame is larger than the underlay's MTU.
    TooBig = 16,
    /// A frame at the hidden end that the encapsulating program did not send there.
    StrayFrame = 17,
    /// Delivered although it carried the former cookie: the peer has not changed over yet.
    PreviousCookieUsed = 18,
    /// Sent over another session because this one is silent (RFC 5286).
    Detoured = 19,
    /// The session's packets must be numbered, and this one is not (RFC 3931 4.6).
    SequenceMissing = 20,
    /// The number is one that is over: the packet is late, or there twice.
    SequenceOld = 21,
    /// Delivered, but packets before it are missing.
    SequenceGap = 22,
    /// Delivered: the peer has begun to count anew.
    SequenceRestarted = 23,
    /// The packet met congestion, and its sender could not be told (RFC 6040 4.2).
    CongestionLost = 24,
    /// UDP over IPv6 without a checksum, which was not agreed (RFC 6935 5).
    MissingChecksum = 25,
    /// The underlay's routes do not lead to the peer.
    NoRoute = 26,
}

impl Reason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 27] = [
        Self::PassedControl,
        Self::PassedFragment,
        Self::ShortHeader,
        Self::BadVersion,
        Self::UnknownSession,
        Self::WrongSourceAddress,
        Self::WrongSourcePort,
        Self::BadIpLength,
        Self::BadIpChecksum,
        Self::BadUdpLength,
        Self::WrongCookie,
        Self::ShortFrame,
        Self::DecapFailed,
        Self::UnknownInterface,
        Self::EncapFailed,
        Self::GsoUnsupported,
        Self::TooBig,
        Self::StrayFrame,
        Self::PreviousCookieUsed,
        Self::Detoured,
        Self::SequenceMissing,
        Self::SequenceOld,
        Self::SequenceGap,
        Self::SequenceRestarted,
        Self::CongestionLost,
        Self::MissingChecksum,
        Self::NoRoute,
    ];

    /// How many there are.
    pub const COUNT: u32 = Self::ALL.len() as u32;

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The number: index into the map of counters.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Whether a packet refused for this reason was on its way out. It has no outer headers then, and so no cookie
    /// that must be hidden, unless the visible end has written them in front of it already
    /// ([`INTERNAL_DESTINATION`](crate::outer::INTERNAL_DESTINATION)).
    #[must_use]
    pub const fn is_outgoing(self) -> bool {
        match self {
            Self::UnknownInterface
            | Self::EncapFailed
            | Self::GsoUnsupported
            | Self::TooBig
            | Self::StrayFrame
            | Self::NoRoute => true,
            Self::PassedControl
            | Self::PassedFragment
            | Self::ShortHeader
            | Self::BadVersion
            | Self::UnknownSession
            | Self::WrongSourceAddress
            | Self::WrongSourcePort
            | Self::BadIpLength
            | Self::BadIpChecksum
            | Self::BadUdpLength
            | Self::WrongCookie
            | Self::ShortFrame
            | Self::DecapFailed
            | Self::SequenceMissing
            | Self::SequenceOld
            | Self::CongestionLost
            | Self::MissingChecksum => false,
            // These are counted only: no packet is refused for them.
            Self::PreviousCookieUsed
            | Self::Detoured
            | Self::SequenceGap
            | Self::SequenceRestarted => false,
        }
    }

    /// The name that counters and the command show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PassedControl => "passed_control",
            Self::PassedFragment => "passed_fragment",
            Self::ShortHeader => "short_header",
            Self::BadVersion => "bad_version",
            Self::UnknownSession => "unknown_session",
            Self::WrongSourceAddress => "wrong_source_address",
            Self::WrongSourcePort => "wrong_source_port",
            Self::BadIpLength => "bad_ip_length",
            Self::BadIpChecksum => "bad_ip_checksum",
            Self::BadUdpLength => "bad_udp_length",
            Self::WrongCookie => "wrong_cookie",
            Self::ShortFrame => "short_frame",
            Self::DecapFailed => "decap_failed",
            Self::UnknownInterface => "unknown_interface",
            Self::EncapFailed => "encap_failed",
            Self::GsoUnsupported => "gso_unsupported",
            Self::TooBig => "too_big",
            Self::StrayFrame => "stray_frame",
            Self::PreviousCookieUsed => "previous_cookie_used",
            Self::Detoured => "detoured",
            Self::SequenceMissing => "sequence_missing",
            Self::SequenceOld => "sequence_old",
            Self::SequenceGap => "sequence_gap",
            Self::SequenceRestarted => "sequence_restarted",
            Self::CongestionLost => "congestion_lost",
            Self::MissingChecksum => "missing_checksum",
            Self::NoRoute => "no_route",
        }
    }

    /// One line for a person.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::PassedControl => "L2TPv3 control message, left to the kernel",
            Self::PassedFragment => "IP fragment, left to the kernel's reassembly",
            Self::ShortHeader => "outer packet ends before the L2TPv3 header does",
            Self::BadVersion => "version in the L2TPv3 header is not 3",
            Self::UnknownSession => "no session has this id at this local address and port",
            Self::WrongSourceAddress => "outer source address is not the session's peer",
            Self::WrongSourcePort => "outer source port is not the session's peer's",
            Self::BadIpLength => "outer IP length does not fit the frame",
            Self::BadIpChecksum => "checksum of the outer IPv4 header is wrong",
            Self::BadUdpLength => "outer UDP length does not fit the IP length",
            Self::WrongCookie => {
                "cookie is not the one expected: check the cookie files of both ends"
            }
            Self::ShortFrame => "inner frame is shorter than an Ethernet header",
            Self::DecapFailed => "the kernel could not strip the outer headers",
            Self::UnknownInterface => "no session belongs to the virtual interface",
            Self::EncapFailed => "the kernel could not make room for the outer headers",
            Self::GsoUnsupported => {
                "super-packet (GSO) that cannot be carried whole: switch off its sender's segmentation offload"
            }
            Self::TooBig => {
                "frame does not fit the underlay's MTU: lower the virtual interface's MTU"
            }
            Self::StrayFrame => "frame reached the hidden end without having been encapsulated",
            Self::PreviousCookieUsed => {
                "delivered, with the former cookie: the peer has not changed over yet"
            }
            Self::Detoured => "sent over another session because this one was silent",
            Self::SequenceMissing => {
                "packet without a number: the peer must number what it sends (`seq send`)"
            }
            Self::SequenceOld => "number that is over: the packet was late, or came twice",
            Self::SequenceGap => "delivered, with packets missing before it",
            Self::SequenceRestarted => "delivered: the peer counts anew",
            Self::CongestionLost => {
                "met congestion on the underlay, and its sender does not understand the mark (ECN)"
            }
            Self::MissingChecksum => {
                "UDP over IPv6 without a checksum: switch it on at the peer, or set `udp_checksum = false`"
            }
            Self::NoRoute => "no route to the peer leads out of the underlay's interface",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::named(reason.name()), Some(reason));
        }
        assert_eq!(Reason::named("no such"), None);
    }

    #[test]
    fn reasons_are_only_appended() {
        // The counters outlive the daemon: a number keeps its meaning from version to version.
        let names: [&str; Reason::ALL.len()] = [
            "passed_control",
            "passed_fragment",
            "short_header",
            "bad_version",
            "unknown_session",
            "wrong_source_address",
            "wrong_source_port",
            "bad_ip_length",
            "bad_ip_checksum",
            "bad_udp_length",
            "wrong_cookie",
            "short_frame",
            "decap_failed",
            "unknown_interface",
            "encap_failed",
            "gso_unsupported",
            "too_big",
            "stray_frame",
            "previous_cookie_used",
            "detoured",
            "sequence_missing",
            "sequence_old",
            "sequence_gap",
            "sequence_restarted",
            "congestion_lost",
            "missing_checksum",
            "no_route",
        ];
        assert_eq!(
            Reason::ALL.map(Reason::name),
            names,
            "append new reasons at the end"
        );
        const { assert!(Reason::COUNT <= crate::abi::MAX_REASONS) };
    }

    #[test]
    fn no_reason_is_left_out() {
        let (_, variants) = include_str!("reason.rs")
            .split_once("pub enum Reason {\n")
            .expect("the enum");
        let (variants, _) = variants.split_once("\n}").expect("its end");
        let numbered = variants.lines().filter(|line| line.contains(" = "));
        assert_eq!(numbered.count(), Reason::ALL.len());
    }

    #[test]
    fn numbers_are_positions_and_names_are_unique() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.number() as usize, position);
            let others = Reason::ALL.iter().filter(|other| *other != reason);
            assert!(
                others
                    .into_iter()
                    .all(|other| other.name() != reason.name())
            );
            assert!(!reason.text().is_empty());
            assert!(
                reason
                    .name()
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_lowercase()),
                "{}",
                reason.name()
            );
        }
    }
}
