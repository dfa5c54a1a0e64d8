//! The agent of berth: makes one host's database containers what the goal files say.
//!
//! Data flows one way: goal → observe → plan → act → status.

pub mod config;
pub mod data;
pub mod files;
pub mod goal;
pub mod mysql;
