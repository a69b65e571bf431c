//! What `[ospf]` says of prefixes from outside of OSPF.

use crate::{accept, report::Found, section::Section, types::Redistribute, words::closest};

/// Largest cost of a route that can be reached: LSInfinity less 1 (RFC 2328 B).
pub(crate) const LARGEST_METRIC: i128 = 0x00ff_fffe;
/// What can be redistributed.
const SOURCES: &[&str] = &["connected", "static"];
/// Cost where nothing else is said.
const DEFAULT_METRIC: u32 = 20;

/// Reads `redistribute` and its companions.
pub(crate) fn redistribute(section: &Section<'_>) -> Redistribute {
    let named = section
        .strings("redistribute", |text| SOURCES.contains(&text))
        .map_or_else(Vec::new, |strings| strings.good);
    for found in &named {
        if !SOURCES.contains(&found.value) {
            unknown(section, found);
        }
    }
    let has = |source: &str| named.iter().any(|found| found.value == source);
    let metric = section.integer("redistribute_metric", 0..=LARGEST_METRIC);
    let kind = section.integer::<u8>("redistribute_type", 1..=2);
    Redistribute {
        connected: has("connected"),
        statics: has("static"),
        metric: metric.map_or(DEFAULT_METRIC, |found| found.value),
        type2: kind.is_none_or(|found| found.value == 2),
        only: accept::entries(section, "redistribute_only"),
    }
}

fn unknown(section: &Section<'_>, found: &Found<&str>) {
    let good = closest(found.value, SOURCES).unwrap_or("connected");
    section.report.error(
        &found.place,
        format!("`{}` is not one of `connected` and `static`", found.value),
        format!("write `redistribute = [\"{good}\"]`"),
    );
}
