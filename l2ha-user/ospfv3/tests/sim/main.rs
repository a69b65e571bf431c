//! Whole networks of speakers in virtual time.

mod basics;
mod convergence;
mod net;
