//! The rooms: one for each kind of thing that a manifest declares.

pub mod benchmark;
pub mod engine;
pub mod environment;
pub mod instance;
pub mod model;
pub mod proxy;
