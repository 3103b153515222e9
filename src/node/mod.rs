//! Where effects happen: a command as a value, and the two sorts of node that run it.

mod command;
mod declared;
mod launch;

pub use command::{Command, quote, quote_path};
pub use declared::{InvalidReach, NodeDeclaration, Reach};
pub use launch::{Check, Launch, LogSign, Ready, Stop};
