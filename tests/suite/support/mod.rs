//! What scenarios are made of: a place of one's own, what a command said, processes, a terminal.

mod machine;
mod place;
mod ports;
pub(crate) mod process;
mod said;
mod terminal;
mod wait;

pub(crate) use machine::Share;
pub(crate) use place::{MANIFESTS, Workdir};
pub(crate) use ports::Ports;
pub(crate) use said::{Running, Said};
pub(crate) use terminal::Terminal;
pub(crate) use wait::until;
