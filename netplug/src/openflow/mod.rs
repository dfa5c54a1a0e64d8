//! OpenFlow 1.3, as much of it as answering for addresses takes: add flows, remove flows
//! by their cookie, list the cookies that are there.
//!
//! Open vSwitch listens for it on a socket of each bridge, `BRIDGE.mgmt` in its run
//! directory, without any configuration and without becoming the bridge's controller.
//! The alternative, a process of `ovs-ofctl` for each change, costs a process and a
//! parser of its output.
//!
//! [`flow`] lays out flows (OpenFlow Switch Specification 1.3.5; the extensions of
//! ovs-fields(7) and ovs-actions(7)); [`client`] sends them. What they mean: `answer`.

mod client;
mod error;
mod flow;

pub(crate) use client::Client;
pub(crate) use error::OpenflowError;
pub(crate) use flow::{Actions, Cookies, Flow, Instructions, Match, field, port};
