//! Measures berth on this machine, beside a peer in the same run where there is one.
//!
//! `containers`: making, running and removing a container, against runc. `converge`: from
//! the drop of a goal to a master and two minions at work. `rest`: what the agent costs
//! while nothing happens. `status`: how fast it answers, with the agent at work and stopped.
//! `network`: limits on traffic, and what giving an address takes.
//! `unpack`: an image unpacked, against umoci, podman and tar. `pull`: one pulled from a
//! registry and unpacked, against podman.
//!
//! Prints figures; asserts no timing. Needs root, and a machine that does nothing else.

#![allow(clippy::unwrap_used, reason = "a bench that does not work ends at once")]

mod containers;
mod figures;
mod fleet;
mod network;
mod pull;
mod unpack;

fn main() {
    // The container bench starts helpers, which are copies of this program.
    berth_runtime::run_if_helper();
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|each| each == name);
    if runs("containers") {
        containers::run();
    }
    if runs("converge") {
        fleet::converge();
    }
    if runs("rest") || runs("status") {
        fleet::rest_and_status();
    }
    if runs("network") {
        network::run();
    }
    if runs("unpack") {
        unpack::run();
    }
    if runs("pull") {
        pull::run();
    }
}
