//! Whole networks of speakers in virtual time.

mod alternates;
mod areas;
mod authentication;
mod basics;
mod broadcast;
mod convergence;
mod edges;
mod externals;
mod failover;
mod families;
mod flooding;
mod forge;
mod graceful;
mod mismatch;
mod net;
mod origination;
mod random;
mod reconfigure;
mod robustness;
mod rotation;
mod seeds;
mod stub;
mod tellers;
