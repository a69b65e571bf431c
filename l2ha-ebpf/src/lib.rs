//! What the kernel programs and the daemon share: map types, header views and drop reasons.
#![no_std]
