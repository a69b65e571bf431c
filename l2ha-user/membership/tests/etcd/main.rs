//! Joining, leaving and watching against the real etcd, which each test starts for itself on loopback.

mod harness;
mod joining;
