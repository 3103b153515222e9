//! The simulator from outside: its batching in paused time, its surface byte for byte, and its
//! processes as other processes see them.

mod batching;
mod client;
pub(super) mod entry;
mod faults;
mod handover;
mod processes;
mod shared;
mod signals;
mod surface;
mod world;
