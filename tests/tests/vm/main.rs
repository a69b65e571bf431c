//! What needs another kernel than this machine's, or a NIC's driver: virtual machines.
//!
//! The gate boots one machine, with the oldest kernel that l2ha runs on, for everything
//! (`one_machine`). Tests whose names begin with `deep_` have machines of their own and take minutes.

/// As anyhow's, and says where.
macro_rules! ensure {
    ($holds:expr, $format:literal $($values:tt)*) => {
        ensure!($holds, format_args!($format $($values)*))
    };
    ($holds:expr, $seen:expr $(,)?) => {
        anyhow::ensure!($holds, "{}:{}: {}", file!(), line!(), $seen)
    };
}

mod boot;
mod capture;
mod doctor;
mod frr;
mod joined;
mod l2tp;
mod one_machine;
mod programs;
mod traffic;
mod wire;
