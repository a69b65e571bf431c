//! The host.

use std::path::Path;

use dataplane::inspect;

use super::proc::read;
use crate::facts::System;

pub(super) fn collect(bpffs: &Path) -> System {
    System {
        release: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        processors: std::thread::available_parallelism()
            .ok()
            .and_then(|number| u32::try_from(number.get()).ok())
            .unwrap_or(1),
        page: u32::try_from(rustix::param::page_size()).unwrap_or(4096),
        cannot_load: inspect::may_load().err().map(|error| error.to_string()),
        bpffs: bpffs.to_owned(),
        has_bpffs: inspect::is_bpffs(bpffs).ok(),
        jit: read("/proc/sys/net/core/bpf_jit_enable").and_then(|text| text.parse().ok()),
        lacks: Vec::new(),
    }
}
