//! What was computed for a request that nobody waits for any more.
//!
//! Who holds it would do so until it forgets it: for minutes, in which it has less room for others. So an
//! instance that writes answers is asked for one token, and nobody reads its answer: what was fetched is held
//! no longer. Where none has room, or as many are asked already as may be, nothing is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::LARGEST;
use super::split::Split;
use crate::proxy::attempt::{Failure, ask};
use crate::proxy::backend::{Backend, count};
use crate::proxy::exchange::legs::{Legs, Origin};
use crate::proxy::fleet::{Bounds, Fleet};
use crate::proxy::handoffs::Handoffs;
use crate::proxy::leases::Lease;
use crate::proxy::outbound::{Departure, Leg, Outbound};
use crate::proxy::part::Part;
use crate::proxy::policy::Charge;
use crate::proxy::request_view::RequestView;
use crate::proxy::suspicion::Suspicion;
use crate::proxy::upload::Received;

/// So many instances are asked at once.
const MOST: usize = 64;

/// One is asked for no longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// What one backend holds for a request, until another was asked for the answer.
#[derive(Debug)]
pub(super) struct Unfetched<'a> {
    origin: Origin<'a>,
    split: Split,
    params: Bytes,
    /// Nothing once somebody has answered for it.
    lease: Option<Lease>,
    departure: Option<Arc<Departure>>,
}

impl<'a> Unfetched<'a> {
    /// What a backend holds by its own words.
    pub(super) fn of(legs: &Legs<'a>, by: &Arc<Backend>, split: &Split, params: Bytes) -> Self {
        Self {
            origin: legs.origin(),
            split: split.clone(),
            params,
            lease: Some(Lease::of(by, legs.lease())),
            departure: None,
        }
    }

    /// Where it is, in the words of who holds it.
    pub(super) fn params(&self) -> &Bytes {
        &self.params
    }

    /// Notes that a backend is being asked for the answer.
    pub(super) fn departs(&mut self, departure: &Arc<Departure>) {
        self.departure = Some(Arc::clone(departure));
    }

    /// Whether it is held no longer.
    pub(super) fn is_over(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::is_over)
    }

    /// Leaves it to who answers.
    pub(super) fn settle(mut self) -> Option<Lease> {
        self.lease.take()
    }
}

impl Drop for Unfetched<'_> {
    fn drop(&mut self) {
        // Who was asked for the answer fetches it, or has it released when the connection is closed.
        let is_asked = self.departure.as_ref().is_some_and(|it| it.is_over());
        let Some(lease) = self.lease.take().filter(|_| !is_asked) else {
            return;
        };
        let handoffs = &self.origin.pool.handoffs;
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        match self.release(lease) {
            Some(release) => drop(runtime.spawn(release.run())),
            None => count(&handoffs.unreleased),
        }
    }
}

impl Unfetched<'_> {
    /// Somebody to fetch it, where that is worth it.
    fn release(&self, lease: Lease) -> Option<Release> {
        let Origin {
            pool,
            retries,
            head,
            id,
            client,
            body,
        } = &self.origin;
        let fleet = pool.fleet();
        if lease.is_over() || !fleet.has_still(&lease.of) || !pool.queue.is_empty_for(Part::Decode)
        {
            return None;
        }
        let place = Place::take(&pool.handoffs)?;
        let charge = somebody(&fleet, &lease.of, head, body)?;
        let original = Outbound {
            head,
            id,
            client,
            body: Received::Whole(body.clone()),
            leg: None,
        };
        let name = [id.as_bytes(), b"-r"].concat();
        Some(Release {
            suspicion: Suspicion::of(retries, &original, Instant::now()),
            head: (*head).clone(),
            id: HeaderValue::from_bytes(&name).ok()?,
            client: (*client).clone(),
            body: self.split.release(&self.params),
            bounds: fleet.bounds,
            charge,
            _lease: lease,
            place,
        })
    }
}

fn somebody(fleet: &Fleet, by: &Arc<Backend>, head: &Parts, body: &Bytes) -> Option<Charge> {
    let view = RequestView::new(&head.headers, Some(body)).for_part(Part::Decode);
    let charge = fleet.claim(&view, std::slice::from_ref(by));
    charge.filter(|charge| charge.claim.spec.role.decodes())
}

/// A request that has a backend fetch what another holds.
struct Release {
    head: Parts,
    id: HeaderValue,
    client: HeaderValue,
    body: Bytes,
    bounds: Bounds,
    charge: Charge,
    suspicion: Option<Suspicion>,
    _lease: Lease,
    place: Place,
}

impl Release {
    async fn run(self) {
        let backend = &self.charge.claim;
        let handoffs = &self.place.0;
        let mut outbound = Outbound {
            head: &self.head,
            id: &self.id,
            client: &self.client,
            body: Received::Whole(self.body.clone()),
            leg: Some(Leg {
                is_read: true,
                ..Leg::default()
            }),
        };
        let asked = async {
            let mut reply = ask(backend, self.bounds, &mut outbound).await?;
            reply.read(backend, LARGEST).await?;
            Ok::<_, Failure>(reply)
        };
        match tokio::time::timeout(LONGEST, asked).await {
            Ok(Ok(reply)) if reply.head.status.is_success() => {
                count(&handoffs.released);
                backend.keep(reply.connection, Instant::now());
                return;
            }
            Ok(Ok(reply)) if !reply.head.status.is_server_error() => {}
            // It may have died of it: vLLM 0.13 answers so as its engine dies of what it cannot fetch.
            Ok(Ok(_) | Err(Failure::Broken(_))) => {
                if let Some(suspicion) = &self.suspicion {
                    suspicion.hold_until_cleared(backend);
                }
            }
            _ => {}
        }
        count(&handoffs.unreleased);
    }
}

/// One of those that are asked at once.
struct Place(Arc<Handoffs>);

impl Place {
    fn take(handoffs: &Arc<Handoffs>) -> Option<Self> {
        let more = |count: usize| (count < MOST).then_some(count + 1);
        let taken = handoffs
            .releasing
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Self(Arc::clone(handoffs)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.releasing.fetch_sub(1, Ordering::AcqRel);
    }
}
