//! OSPFv3 (RFC 5340) without I/O, clock or threads.
#![forbid(unsafe_code)]
