//! Several hosts, each a network namespace with an agent of its own: clusters across them,
//! cut networks, agents and hosts that are gone. One program, so that few fleets are at work
//! at a time.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod host_mode;
mod network;
mod vlan;
