//! How a request comes to its answer: one file an exchange, and its line in the list below.
//!
//! A policy chooses one backend; an exchange says how many are asked, in which order, and whose answer
//! goes to the client. What all of them are made of is in [`Legs`].

mod legs;
mod single;

use std::sync::Arc;

use legs::Legs;

use super::answer::Answer;
use super::error::ApiError;
use super::outbound::Outbound;
use super::pool::Pool;
use super::record::Record;
use super::retry::Retries;

/// How a request is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Exchange {
    /// By one instance, which reads the prompt and writes the answer.
    #[default]
    Single,
}

impl Exchange {
    /// Sends a request to where it is answered, and returns the answer. Nothing is returned when the
    /// client broke off.
    async fn run(self, legs: &mut Legs<'_>) -> Option<Result<Answer, ApiError>> {
        match self {
            Self::Single => single::run(legs).await,
        }
    }
}

/// Sends a request on its way, from its last byte in to the first byte out. Nothing is returned when
/// the client broke off.
pub(super) async fn forward(
    pool: &Pool,
    retries: &Arc<Retries>,
    outbound: Outbound<'_>,
    record: &mut Record,
) -> Option<Result<Answer, ApiError>> {
    let fleet = pool.fleet();
    let exchange = fleet.exchange;
    let mut legs = Legs::new(pool, retries, fleet, outbound, record);
    let end = exchange.run(&mut legs).await?;
    if let Err(error) = &end {
        tracing::warn!(why = error.message(), "a request failed");
    }
    Some(end)
}
