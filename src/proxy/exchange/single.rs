//! One instance answers: it reads the prompt and writes the answer.
//!
//! # What is sent twice, and what never is
//!
//! A completion changes nothing, but it costs a GPU, and some requests kill the server that gets
//! them. So a request of which a byte was sent goes to a second backend only
//!
//! - where the first says that it has too much to do (429, 503), or does not take its own key (401),
//!   as somebody else answers there, or
//! - where the first failed it before anything of an answer was passed on (its connection broke, it
//!   answered 500, the first event of its stream is an error), and a look at that server *after* the
//!   failure has seen it alive;
//!
//! and then once, and within a budget for all. What fails as its server dies gets no second one.
//!
//! One case is different. A server may close an idle connection at the very moment at which a
//! request goes out on it (uvicorn does after 5 s). The request was then written, nothing will ever
//! answer, and it was almost surely never read. RFC 9112 section 9.3.1 lets a client send such a
//! request again if it is idempotent, or if it knows that the server did not process it. The proxy
//! takes it for known under four conditions: the connection was reused, not one byte came back, it
//! closed (and did not just stay silent), and this is the first time. The copy goes to the same
//! backend on a new connection, and both are one attempt.

use super::End;
use super::legs::Legs;
use super::sent::{Flaw, Sent};
use crate::proxy::policy::Charge;
use crate::proxy::seldom::seldom;

/// Sends a request to one backend after another until one has it, and returns its answer.
pub(super) async fn run(legs: &mut Legs<'_>) -> End {
    match legs.begin().await {
        Ok(charge) => go(legs, charge).await,
        Err(error) => Some(Err(error)),
    }
}

/// The same, from this backend on.
pub(super) async fn go(legs: &mut Legs<'_>, mut charge: Charge) -> End {
    loop {
        let sent = legs.send(&charge.claim).await;
        let next = match Sent::of(legs, sent, charge) {
            Sent::Answered(reply, charge) => return Some(Ok(legs.answer(reply, charge, None))),
            Sent::Over(end) => return end,
            Sent::Unreachable(charge, why) => {
                let other = seldom(legs.pass_over(charge, &why)).await;
                other.map_err(|error| Some(Err(error)))
            }
            Sent::Flawed(flaw) => seldom(another(legs, flaw)).await,
        };
        match next {
            Ok(other) => charge = other,
            Err(end) => return end,
        }
    }
}

/// Another backend for what one did not serve; or else what the client gets.
async fn another(legs: &mut Legs<'_>, flaw: Flaw) -> Result<Charge, End> {
    if let Err(should_retry) = legs.may_go_on(&flaw).await {
        return Err(Some(flaw.end(legs, should_retry)));
    }
    let other = legs.claim_if_nobody_waits();
    let other = other.filter(|_| legs.may_spend());
    other.ok_or_else(|| Some(flaw.end_alone(legs)))
}
