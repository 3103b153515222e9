//! The data plane: requests in, one instance chosen, bytes out as they come.

pub mod control;
pub mod policy;
