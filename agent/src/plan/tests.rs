//! What the planner does, by tables and by properties.
//!
//! [`scene`] makes the observations of the tables by changing that of a converged host;
//! [`agent`] runs plans on the model of [`crate::testing::world`]. A table has a row for
//! each state of docs/replication.md and for each corner of it; the properties say what
//! must hold in every state.

mod agent;
mod bootstrap;
mod container;
mod gate;
mod host;
mod properties;
mod replica;
mod role;
mod scene;
mod seed;
mod shared;
