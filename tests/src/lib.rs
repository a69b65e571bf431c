//! The lab: hosts in network namespaces joined by an emulated unicast-only cloud.
