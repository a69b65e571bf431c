//! The `l2ha` command.

fn main() {}
