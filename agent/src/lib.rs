//! The agent of berth: makes one host's database containers what the goal files say.
//!
//! Data flows one way: goal → observe → plan → act → status.

pub mod act;
mod bounded;
pub mod cli;
pub mod config;
pub mod data;
pub mod files;
pub mod goal;
pub mod host;
pub mod journal;
pub mod mysql;
pub mod network;
pub mod observe;
pub mod plan;
pub mod reconcile;
pub mod status;
#[cfg(test)]
mod testing;
pub mod wake;
