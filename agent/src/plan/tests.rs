//! What the planner does, by tables and by properties.
//!
//! [`scene`] makes the observations of the tables by changing that of a converged host;
//! [`crate::testing::agent`] runs plans on a model of a host. A table has a row for
//! each state of docs/replication.md and for each corner of it; the properties say what
//! must hold in every state.

mod bootstrap;
mod container;
mod disk;
mod gate;
mod host;
mod memory;
mod network;
mod properties;
mod replica;
mod resize;
mod role;
mod scene;
mod seed;
mod shared;
