//! Effects performed: a file for each verb that a plan is made of.
//!
//! Each is one script in `script/`, run on the node, so that what must happen in one piece does not
//! hang on a connection. All of them may be repeated: a launch finds what runs already, a stop finds
//! nothing left.

mod account;
mod burst;
mod conditions;
mod control;
mod copy;
mod keep_log;
mod keys;
mod kill_unmanaged;
mod last_words;
mod launch;
mod liveness;
mod log;
mod remove;
mod run_script;
mod secret;
mod send_load;
mod server;
mod startup;
mod stop;
mod supervised;
mod unit;
mod upload;
mod wait_ready;
mod watch;
mod way;

#[cfg(test)]
mod tests;

pub use account::{EndedProcess, Stopped};
pub use burst::{Burst, burst};
pub use conditions::conditions;
pub use control::control;
pub use copy::copy;
pub use keep_log::keep_log;
pub use keys::with_keys;
pub use kill_unmanaged::kill_unmanaged;
pub use last_words::last_words;
pub use launch::{Started, launch};
pub use liveness::{EarlyPage, liveness};
pub use remove::{Emptied, remove};
pub use run_script::run_script;
pub use secret::api_keys;
pub use send_load::send_load;
pub use stop::stop;
#[cfg(test)]
pub(super) use upload::send;
pub use upload::upload;
pub use wait_ready::{ReadyIn, wait_ready};
pub use way::{WayEnd, measure_ways};

use crate::plan::{Failure, Phase};

use super::outcome::NodeError;
use super::unreachable::Unreachable;

/// What hears how far a verb has come.
pub type OnPhase<'a> = &'a (dyn Fn(Phase) + Send + Sync);

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        if error.is_connection_lost() {
            let hint = "run the same again: it looks at the node anew before it does anything";
            let failure = Failure::interrupted(error.to_string());
            failure.caused_by(error).hinted(hint)
        } else {
            Self::of(error)
        }
    }
}

impl From<Unreachable> for Failure {
    fn from(unreachable: Unreachable) -> Self {
        let hint = unreachable.hint();
        Self {
            hint,
            ..Self::of(unreachable)
        }
    }
}
