//! What needs another kernel than this machine's, or a NIC's driver: virtual machines.

mod boot;
mod capture;
mod doctor;
mod frr;
mod programs;
mod l2tp;
mod wire;
