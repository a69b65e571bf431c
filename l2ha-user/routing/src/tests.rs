//! Whole nodes in virtual time: the event loop as it is, between a fake wire, a fake kernel and a fake
//! BFD. Each test takes seconds to minutes of virtual time, and milliseconds of real time.

mod failures;
mod fakes;
mod foreign_prefixes;
mod log_lines;
mod net;
mod reload;
mod rotation;
mod start_and_end;
mod twins;
mod views;
