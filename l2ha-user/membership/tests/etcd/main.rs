//! Joining, leaving and watching against the real etcd, which each test starts for itself on loopback.

mod away;
mod harness;
mod joining;
