//! What the engines count, in step with the client: before and after every load, and every second
//! in between.
//!
//! The pages in between are fetched on the caller's threads and never on the one that sends; those
//! before and after are fetched where nothing is in flight.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::client::Client;
use super::counts::Counts;
use crate::plan::{Endpoint, Target};
use crate::prometheus::{Histogram, Page};
use crate::results::{Delta, GaugeSample, Scraped, hand_over};

/// How often a server is looked at while it is measured.
const EVERY: Duration = Duration::from_secs(1);

/// An engine counts a request a moment after its last byte: so often it is looked at again.
const SETTLING: u32 = 20;

/// Between two of those looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Pages by the instance that they are of. Who shows none is not in it.
pub(super) type Pages = BTreeMap<String, Scraped>;

/// Fetches the pages of all instances, one after another.
pub(super) async fn pages(client: &Client, targets: &[Target]) -> Pages {
    let mut pages = Pages::new();
    for target in targets {
        if let Some(page) = page(client, target).await {
            pages.insert(target.name.clone(), page);
        }
    }
    pages
}

/// Fetches the pages after a load, once each engine has counted as many requests as it answered.
pub(super) async fn pages_after(
    client: &Client,
    targets: &[Target],
    before: &Pages,
    answered: &BTreeMap<String, u64>,
) -> Pages {
    let mut after = pages(client, targets).await;
    for _ in 0..SETTLING {
        if !is_behind(before, &after, answered) {
            break;
        }
        sleep(PAUSE).await;
        after = pages(client, targets).await;
    }
    after
}

fn is_behind(before: &Pages, after: &Pages, answered: &BTreeMap<String, u64>) -> bool {
    answered.iter().any(|(instance, answered)| {
        let pages = before.get(instance).zip(after.get(instance));
        let delta = pages.and_then(|(before, after)| Delta::between(&before.page, &after.page));
        delta
            .and_then(|delta| delta.requests)
            .is_some_and(|counted| counted < *answered)
    })
}

async fn page(client: &Client, target: &Target) -> Option<Scraped> {
    let (status, body) = client
        .get_openly(&target.authority, "/metrics")
        .await
        .ok()?;
    let text = std::str::from_utf8(&body).ok().filter(|_| status == 200)?;
    let page = Page::read(text);
    // What is no engine's page says nothing of an engine.
    (page != Page::default()).then(|| Scraped {
        at_us: client.clock.now() / 1000,
        page,
    })
}

/// What the proxy has counted of requests that two instances shared, by now. Nothing where requests do
/// not go through one.
pub(super) async fn hand_overs(client: &Client, endpoint: &Endpoint) -> Option<Histogram> {
    let authority = Some(&endpoint.authority).filter(|_| endpoint.is_proxy)?;
    let (_, body) = client.get_openly(authority, "/metrics").await.ok()?;
    Histogram::read(std::str::from_utf8(&body).ok()?, hand_over::SECONDS)
}

/// What the gauges of each instance showed.
pub(super) type Seen = BTreeMap<String, Vec<GaugeSample>>;

/// Looks at servers every second while requests are measured.
#[derive(Debug)]
pub(super) struct Sampler {
    seen: Arc<Mutex<Seen>>,
    _looking: JoinSet<()>,
}

impl Sampler {
    /// Begins. Nobody is asked before it is known who answers, and nobody who is not measured.
    pub(super) fn start(client: &Client, targets: &[Target], counts: &Arc<Counts>) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut looking = JoinSet::new();
        for target in targets.iter().cloned() {
            let (client, seen) = (client.clone(), Arc::clone(&seen));
            let counts = Arc::clone(counts);
            looking.spawn(async move {
                let mut tick = interval(EVERY);
                tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tick.tick().await;
                    if !counts.is_measuring() {
                        continue;
                    }
                    let Some(page) = page(&client, &target).await else {
                        continue;
                    };
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.entry(target.name.clone())
                        .or_default()
                        .push(GaugeSample::of(&page));
                }
            });
        }
        Self {
            seen,
            _looking: looking,
        }
    }

    /// Ends, and returns what was seen, by instance.
    pub(super) fn end(self) -> Seen {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen)
    }
}
