//! Effects performed: a file for each verb that a plan is made of.
//!
//! Each is one script in `script/`, run on the node, so that what must happen in one piece does not
//! hang on a connection. All of them may be repeated: a start finds what runs already, a stop finds
//! nothing left.

mod account;
mod copy;
mod end;
mod log;
mod ready;
mod remove;
mod start;
mod stop;
mod tell;
mod upload;
mod watch;
mod watched;
mod work;

#[cfg(test)]
mod tests;

pub use account::{Ended, Stopped};
pub use copy::copy;
pub use end::end;
pub use ready::{ReadyIn, check, ready};
pub use remove::{Emptied, remove};
pub use start::{Started, start};
pub use stop::stop;
pub use tell::tell;
#[cfg(test)]
pub(super) use upload::send;
pub use upload::upload;
pub use work::work;

use crate::plan::{Failure, Phase};

use super::outcome::NodeError;
use super::unreachable::Unreachable;

/// What hears how far a verb has come.
pub type Progress<'a> = &'a (dyn Fn(Phase) + Send + Sync);

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
