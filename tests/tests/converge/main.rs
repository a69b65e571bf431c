//! What comes to be right in its own time, however long a busy machine takes: adjacencies, databases, routes,
//! repairs, refusals. These run many at a time.

mod areas;
mod bad_config;
mod bird;
mod bird_auth;
mod broadcast;
mod capture;
mod decoders;
mod doctor;
mod fragments;
mod frr;
mod frr_auth;
mod hostile;
mod lab;
mod misfit;
mod peers;
mod refuse;
mod restart;
mod rollback;
mod topologies;
mod tshark;
mod wire;
