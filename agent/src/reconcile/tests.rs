//! The loop on a model of a host, with a clock that stands still until nothing else is to
//! be done: minutes pass in milliseconds, and no test waits for anything real.

mod bed;
mod disks;
mod failures;
mod goals;
mod passes;
