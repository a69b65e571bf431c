//! What comes to be right in its own time, however long a busy machine takes: adjacencies, databases, routes,
//! repairs, refusals. These run many at a time.

mod areas;
mod auth;
mod bad_config;
mod bare_peer;
mod bird;
mod broadcast;
mod capture;
mod cut;
mod decoders;
mod doctor;
mod edges;
mod firewall;
mod fragments;
mod frr;
mod gateway;
mod gateways;
mod graceful;
mod health;
mod hostile;
mod ipv4;
mod lab;
mod misfit;
mod owners;
mod path_mtu;
mod peers;
mod problems;
mod refuse;
mod restart;
mod source;
mod state;
mod takes_nothing;
mod topologies;
mod tshark;
mod underlay_routes;
mod wire;
