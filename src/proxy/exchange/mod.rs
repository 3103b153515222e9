//! How a request comes to its answer: one file an exchange, and its line in the list below.
//!
//! A policy chooses one backend; an exchange says how many are asked, in which order, and whose answer
//! goes to the client. What all of them are made of is in [`Legs`].

mod legs;
mod prefill_decode;
mod sent;
mod single;

use std::sync::Arc;

use legs::Legs;

use super::answer::Answer;
use super::error::ApiError;
use super::fleet::Fleet;
use super::outbound::Outbound;
use super::pool::Pool;
use super::record::Record;
use super::retry::Retries;
use super::seldom::seldom;
use crate::plan::Role;

/// What a request comes to. Nothing is returned when the client broke off.
type End = Option<Result<Answer, ApiError>>;

/// How a request is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Exchange {
    /// By one instance, which reads the prompt and writes the answer.
    #[default]
    Single,
    /// By two: one reads the prompt, and another fetches what that has computed, and writes the answer.
    PrefillDecode,
}

impl Exchange {
    /// The one for instances of these roles.
    pub(super) fn of(mut roles: impl Iterator<Item = Role>) -> Self {
        if roles.all(|role| role.is_both()) {
            Self::Single
        } else {
            Self::PrefillDecode
        }
    }

    /// Sends a request to where it is answered, and returns the answer.
    async fn run(self, legs: &mut Legs<'_>) -> End {
        match self {
            Self::Single => single::run(legs).await,
            Self::PrefillDecode => seldom(prefill_decode::run(legs)).await,
        }
    }
}

/// Sends a request on its way, from its last byte in to the first byte out.
pub(super) async fn forward(
    pool: &Arc<Pool>,
    retries: &Arc<Retries>,
    fleet: Arc<Fleet>,
    outbound: Outbound<'_>,
    record: &mut Record,
) -> End {
    let exchange = fleet.exchange;
    let mut legs = Legs::new(pool, retries, fleet, outbound, record);
    let end = exchange.run(&mut legs).await?;
    if let Err(error) = &end {
        tracing::warn!(why = error.message(), "a request failed");
    }
    Some(end)
}
