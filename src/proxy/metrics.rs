//! The proxy's own counts, as Prometheus reads them.
//!
//! What is hot only counts, in places of its own. This looks at all of them when somebody asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::backend::{Backend, Tally};
use super::body::Outgoing;
use super::control::BackendState;
use super::counts::{Answers, Times};
use super::error::json_response;
use super::handoffs::Handoffs;
use super::queue::Queue;
use super::requests::{Ledger, Outcome};
use super::route::Front;

/// What the names of all counts begin with.
const PREFIX: &str = "replica_proxy";

/// The page.
pub(super) fn page(front: &Front) -> Response<Outgoing> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Page::of(front)));
    let mut text = String::new();
    // A text takes whatever is written to it.
    let _ = prometheus_text::encode(&mut text, &registry);
    let mut response = json_response(StatusCode::OK, text.into());
    let kind = HeaderValue::from_static(prometheus_text::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// What is told, as it was when it was looked at.
#[derive(Debug)]
struct Page {
    instances: BTreeMap<String, Instance>,
    own: Arc<Answers>,
    drains: Arc<Times>,
    queue: Arc<Queue>,
    handoffs: Arc<Handoffs>,
    ledger: Arc<Ledger>,
    /// Those that stand for themselves: what they are called, what they are, whether they only grow,
    /// and where they stand.
    single: Vec<(&'static str, &'static str, bool, u64)>,
    /// Clients whose connection was ended, by why.
    clients_cut: Vec<(&'static str, u64)>,
    /// Requests that got no server, by why; and second attempts, by whether the budget had them.
    poison_refused: [(&'static str, u64); 2],
    retries: [(&'static str, u64); 2],
}

/// One instance, in all of its epochs.
#[derive(Debug)]
struct Instance {
    tally: Arc<Tally>,
    in_flight: u64,
    /// As much as it has computed for others, and they have not fetched.
    held: u64,
    is_ready: bool,
}

impl Page {
    fn of(front: &Front) -> Self {
        let mut instances = BTreeMap::<String, Instance>::new();
        for backend in front.pool.backends() {
            let instance = instances
                .entry(backend.spec.name.clone())
                .or_insert_with(|| Instance::of(&backend));
            instance.in_flight += backend.in_flight();
            instance.held += backend.leases.count();
            instance.is_ready |= backend.state() == BackendState::Ready;
        }
        let retries = &front.retries;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            instances,
            own: Arc::clone(&front.own),
            drains: Arc::clone(&front.drains),
            queue: Arc::clone(&front.pool.queue),
            handoffs: Arc::clone(&front.pool.handoffs),
            ledger: Arc::clone(&front.ledger),
            single: Self::single(front),
            clients_cut: front.clients.cut(),
            poison_refused: [
                ("same", count(&retries.poison.refusals.same)),
                ("alike", count(&retries.poison.refusals.alike)),
            ],
            retries: [
                ("granted", count(&retries.budget.granted)),
                ("refused", count(&retries.budget.refused)),
            ],
        }
    }

    /// Those that stand for themselves.
    fn single(front: &Front) -> Vec<(&'static str, &'static str, bool, u64)> {
        let lost = front.pool.access_log().map_or(0, |log| log.lost());
        vec![
            (
                "poison_remembered",
                "What requests are known by, or alike in, that were in flight as a server died",
                false,
                front.retries.poison.remembered(),
            ),
            (
                "buffered_bytes",
                "Bytes of requests that are held until they are answered, those up to 64 KiB aside",
                false,
                front.uploads.held(),
            ),
            (
                "clients",
                "Clients that are connected",
                false,
                front.clients.connected(),
            ),
            (
                "queued",
                "Requests that wait for an instance",
                false,
                front.pool.queue.length() as u64,
            ),
            (
                "access_log_lost",
                "Lines of the access log that were lost",
                true,
                lost,
            ),
        ]
    }
}

impl Instance {
    fn of(backend: &Backend) -> Self {
        Self {
            tally: Arc::clone(&backend.tally),
            in_flight: 0,
            held: 0,
            is_ready: false,
        }
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_requests(&mut encoder)?;
        self.encode_attempts(&mut encoder)?;
        self.encode_times(&mut encoder)?;
        self.encode_state(&mut encoder)?;
        for (name, help, grows, value) in &self.single {
            let kind = if *grows {
                MetricType::Counter
            } else {
                MetricType::Gauge
            };
            let metric = encoder.encode_descriptor(name, help, None, kind)?;
            encode_value(metric, kind, *value)?;
        }
        let help = "Connections of clients that the proxy has ended";
        by_word(
            &mut encoder,
            "clients_cut",
            help,
            "reason",
            &self.clients_cut,
        )?;
        let help = "Requests that were sent to no server, as they, or others alike, were in flight as one \
                    died";
        by_word(
            &mut encoder,
            "poison_refused",
            help,
            "reason",
            &self.poison_refused,
        )?;
        let help = "Requests whose prompt one instance was to read for another, by what came of it";
        let handoffs = self.handoffs.read();
        by_word(&mut encoder, "handoffs", help, "outcome", &handoffs)?;
        let help = "Second attempts at another instance, by whether the budget had one left";
        by_word(&mut encoder, "retries", help, "outcome", &self.retries)
    }
}

impl Page {
    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counter = MetricType::Counter;
        let help = "Requests that are over, by how their answer ended";
        let mut requests = family(encoder, "requests", help, counter)?;
        let instances = self.instances.iter();
        let of_instances = instances.map(|(name, it)| (name.as_str(), &it.tally.answers));
        for (instance, answers) in of_instances.chain([("", &*self.own)]) {
            for count in answers.read() {
                let labels = [
                    ("route", count.route),
                    ("code", count.code.as_str()),
                    ("instance", instance),
                    ("outcome", count.outcome),
                ];
                sample(&mut requests, counter, &labels, count.requests)?;
            }
        }
        let help = "Requests for an instance, by what came of them";
        let mut ledger = family(encoder, "ledger", help, counter)?;
        for outcome in Outcome::ALL {
            let labels = [("outcome", outcome.name())];
            sample(&mut ledger, counter, &labels, self.ledger.ended(outcome))?;
        }
        Ok(())
    }

    fn encode_attempts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let attempts: [Reason; 3] = [
            ("first", |it| &it.first),
            ("elsewhere", |it| &it.elsewhere),
            ("resent", |it| &it.resent),
        ];
        let help = "Requests sent to an instance, or tried to: as the first, as another could not be \
                    reached, or again as their reused connection was closed";
        self.encode_reasons(encoder, "attempts", help, &attempts)?;
        let failures: [Reason; 2] = [
            ("unreachable", |it| &it.unreachable),
            ("broken", |it| &it.broken),
        ];
        let help = "Attempts that failed: no byte was sent, or the answer broke off or never began";
        self.encode_reasons(encoder, "attempt_failures", help, &failures)?;
        let ejections: [Reason; 2] = [
            ("request", |it| &it.ejected_by_requests),
            ("probe", |it| &it.ejected_by_probes),
        ];
        let help = "How often an instance was taken out, by who found it gone";
        self.encode_reasons(encoder, "ejections", help, &ejections)?;
        let canaries: [Reason; 2] = [
            ("sent", |it| &it.canaries),
            ("unanswered", |it| &it.canaries_lost),
        ];
        let help = "Short requests to an instance of whose requests nothing came for a while, and those \
                    that it did not answer either";
        self.encode_reasons(encoder, "canaries", help, &canaries)?;
        let outliers: [Reason; 1] = [("failures", |it| &it.left_out)];
        let help =
            "How often an instance was left out for a while, as it failed more than the others";
        self.encode_reasons(encoder, "outliers", help, &outliers)
    }

    fn encode_reasons(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        reasons: &[Reason],
    ) -> fmt::Result {
        let counter = MetricType::Counter;
        let mut family = family(encoder, name, help, counter)?;
        for (instance, it) in &self.instances {
            for (reason, of) in reasons {
                let labels = [("instance", instance.as_str()), ("reason", *reason)];
                let count = of(&it.tally).load(Ordering::Relaxed);
                sample(&mut family, counter, &labels, count)?;
            }
        }
        Ok(())
    }

    fn encode_times(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let histogram = MetricType::Histogram;
        let help = "From the head of a request to the first event of its stream";
        let mut ttft = family(encoder, "ttft_seconds", help, histogram)?;
        for (instance, it) in &self.instances {
            times(&mut ttft, instance, &it.tally.first_byte)?;
        }
        let help =
            "From the head of a request to the end of its answer, where all of it was passed on";
        let mut took = family(encoder, "request_seconds", help, histogram)?;
        for (instance, it) in &self.instances {
            times(&mut took, instance, &it.tally.took)?;
        }
        let help = "How long drains took until nothing was in flight";
        let drains = family(encoder, "drain_seconds", help, histogram)?;
        times_of_all(drains, &self.drains)?;
        let help = "How long requests waited for an instance, those that had to";
        let queued = family(encoder, "queue_seconds", help, histogram)?;
        times_of_all(queued, self.queue.waited())?;
        let help = "From the last byte of the answer of who has read a prompt to the first byte that is sent \
                    to who writes the answer";
        let handoff = family(encoder, "handoff_seconds", help, histogram)?;
        times_of_all(handoff, &self.handoffs.took)
    }

    fn encode_state(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = MetricType::Gauge;
        let mut inflight = family(encoder, "inflight", "Requests in flight", gauge)?;
        for (instance, it) in &self.instances {
            sample(
                &mut inflight,
                gauge,
                &[("instance", instance.as_str())],
                it.in_flight,
            )?;
        }
        let help = "Prompts that were read for others, and not fetched by them yet";
        let mut held = family(encoder, "handoff_unfetched", help, gauge)?;
        for (instance, it) in &self.instances {
            sample(
                &mut held,
                gauge,
                &[("instance", instance.as_str())],
                it.held,
            )?;
        }
        let mut ready = family(encoder, "ready", "Whether requests go there", gauge)?;
        for (instance, it) in &self.instances {
            let labels = [("instance", instance.as_str())];
            sample(&mut ready, gauge, &labels, u64::from(it.is_ready))?;
        }
        Ok(())
    }
}

/// A word for a count of an instance, and where it stands.
type Reason = (&'static str, fn(&Tally) -> &AtomicU64);

fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

/// A family of counts that are told apart by one word.
fn by_word(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    counts: &[(&'static str, u64)],
) -> fmt::Result {
    let mut family = family(encoder, name, help, MetricType::Counter)?;
    for (word, count) in counts {
        sample(&mut family, MetricType::Counter, &[(label, *word)], *count)?;
    }
    Ok(())
}

fn sample(
    family: &mut MetricEncoder<'_>,
    kind: MetricType,
    labels: &impl EncodeLabelSet,
    value: u64,
) -> fmt::Result {
    encode_value(family.encode_family(labels)?, kind, value)
}

fn encode_value(metric: MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        MetricType::Counter => ConstCounter::new(value).encode(metric),
        _ => ConstGauge::new(value).encode(metric),
    }
}

fn times_of_all(mut metric: MetricEncoder<'_>, times: &Times) -> fmt::Result {
    let read = times.read();
    metric.encode_histogram::<NoLabelSet>(read.sum, read.count, &read.buckets, None)
}

fn times(family: &mut MetricEncoder<'_>, instance: &str, times: &Times) -> fmt::Result {
    let read = times.read();
    let labels = [("instance", instance)];
    let mut metric = family.encode_family(&labels)?;
    metric.encode_histogram::<NoLabelSet>(read.sum, read.count, &read.buckets, None)
}
