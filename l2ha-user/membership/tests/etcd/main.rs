//! Joining, leaving and watching against the real etcd, which each test starts for itself on loopback.

mod access;
mod away;
mod harness;
mod hostile;
mod joining;
