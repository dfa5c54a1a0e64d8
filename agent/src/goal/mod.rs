//! Goal files on disk: reading the drop-in directory, and keeping the goals in force.
//!
//! Flow: [`read::directory`] → `berth_model::goal::resolve` → [`in_force`] for the next
//! time. What a goal means is decided in the model; here are only files.

pub mod in_force;
pub mod read;
