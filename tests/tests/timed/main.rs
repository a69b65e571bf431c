//! What has to be right within milliseconds, or without a single packet lost. These run alone.

mod balance;
mod bfd;
mod cluster;
mod drain;
mod failover;
mod graceful;
mod health;
mod hitless;
mod hitless_half;
mod ipv4;
mod membership;
mod probe;
mod queues;
mod reload;
mod removed;
mod repair;
mod restart;
mod rollback;
mod rotation;
mod scale;
mod services;
mod show;
mod thousand;
mod torus;
