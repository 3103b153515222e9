//! Requests that wait: for a place at an instance, and for an instance to be ready.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::HeaderMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::proxy::backend::Backend as Served;
use crate::proxy::fleet::Fleet;
use crate::proxy::policy::Charge;
use crate::proxy::pool::Pool;
use crate::proxy::queue::{Unplaced, Wait, place};
use crate::proxy::request_view::RequestView;

fn limits(in_flight: u32, queue: Option<u32>) -> InstanceLimits {
    InstanceLimits {
        in_flight: NonZeroU32::new(in_flight),
        queue,
        ..InstanceLimits::default()
    }
}

/// A proxy before these, each of which has so many requests at once.
async fn limited(fakes: &[&Fake], limits: InstanceLimits) -> Running {
    let proxy = Running::before(fakes).await;
    proxy
        .configure(&Config {
            limits,
            ..config(2, fakes)
        })
        .await;
    proxy
}

impl Running {
    async fn until_waiting(&self, waiting: usize) {
        self.until(|status| status.waiting == waiting).await;
    }

    /// A client that has asked, as so many wait then.
    async fn asks(&self, body: &str, waiting: usize) -> Client {
        let mut client = self.client().await;
        client.send(&post("/v1/completions", body)).await;
        self.until_waiting(waiting).await;
        client
    }

    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.front.pool)
    }
}

#[tokio::test]
async fn who_finds_no_place_waits_for_his_turn() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = limited(&[&fake], limits(1, None)).await;
    let mut first = proxy.asks("first", 0).await;
    let mut call = soon(calls.recv()).await.unwrap();
    let mut second = proxy.asks("second", 1).await;
    let mut third = proxy.asks("third", 2).await;
    let status = proxy.status().await;
    assert_eq!(status.backends["a"].in_flight, 1);
    let page = proxy.get("/metrics").await.body;
    assert!(page.contains("\nreplica_proxy_queued 2\n"), "{page}");
    for (client, next) in [(&mut first, "second"), (&mut second, "third")] {
        call.reply("200 OK", "{}").await;
        drop(call);
        assert_eq!(client.answer().await.status(), 200);
        call = soon(calls.recv()).await.unwrap();
        assert_eq!(call.body, next.as_bytes());
    }
    call.reply("200 OK", "{}").await;
    let answer = third.answer().await;
    assert_eq!(answer.status(), 200);
    let times = answer.header("server-timing").unwrap();
    assert!(times.starts_with("queue;dur="), "{times}");
    proxy.until_requests(3, 0, 0).await;
    let page = proxy.get("/metrics").await.body;
    assert!(
        page.contains("\nreplica_proxy_queue_seconds_count 2\n"),
        "{page}"
    );
}

#[tokio::test]
async fn who_finds_the_queue_full_or_waits_too_long_is_told_to_come_again() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = limited(&[&fake], limits(1, Some(1))).await;
    let mut first = proxy.asks("first", 0).await;
    let mut call = soon(calls.recv()).await.unwrap();
    let mut second = proxy.asks("second", 1).await;
    let full = proxy.post("/v1/completions", "third").await;
    let mut hasty = Config {
        limits: limits(1, Some(1)),
        ..config(3, &[&fake])
    };
    hasty.timeouts.queue = 0.05;
    // It holds for who waits already.
    proxy.configure(&hasty).await;
    let late = second.answer().await;
    for (answer, why) in [(full, "1 wait for them"), (late, "within 50ms")] {
        assert_eq!(
            (answer.status(), answer.error().as_str()),
            (429, "overloaded")
        );
        assert!(answer.body.contains(why), "{}", answer.body);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("x-should-retry"), Some("true"));
    }
    call.reply("200 OK", "{}").await;
    assert_eq!(first.answer().await.status(), 200);
    proxy.until_requests(1, 2, 0).await;
    let page = proxy.get("/metrics").await.body;
    let overloaded = r#"replica_proxy_ledger_total{outcome="overloaded"} 2"#;
    assert!(page.lines().any(|line| line == overloaded), "{page}");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn who_leaves_gives_up_his_place_at_once() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = limited(&[&fake], limits(1, Some(1))).await;
    let mut first = proxy.asks("first", 0).await;
    let mut call = soon(calls.recv()).await.unwrap();
    drop(proxy.asks("second", 1).await);
    proxy.until_waiting(0).await;
    let mut third = proxy.asks("third", 1).await;
    call.reply("200 OK", "{}").await;
    assert_eq!(first.answer().await.status(), 200);
    drop(call);
    let mut call = soon(calls.recv()).await.unwrap();
    assert_eq!(call.body, b"third");
    call.reply("200 OK", "{}").await;
    assert_eq!(third.answer().await.status(), 200);
    proxy.until_requests(2, 0, 1).await;
}

#[tokio::test]
async fn who_waits_goes_by_the_configuration_as_it_becomes() {
    let (a, mut calls) = Fake::driven("a").await;
    let (b, mut others) = Fake::driven("b").await;
    let proxy = limited(&[&a], limits(1, Some(3))).await;
    let _first = proxy.asks("first", 0).await;
    let _call = soon(calls.recv()).await.unwrap();
    let _second = proxy.asks("second", 1).await;
    let _third = proxy.asks("third", 2).await;
    let _fourth = proxy.asks("fourth", 3).await;
    // There is room for one more, and then another instance.
    let mut wider = Config {
        limits: limits(2, Some(3)),
        ..config(3, &[&a])
    };
    proxy.configure(&wider).await;
    let second = soon(calls.recv()).await.unwrap();
    assert_eq!(second.body, b"second");
    proxy.until_waiting(2).await;
    wider.generation = 4;
    wider.backends.push(b.backend.clone());
    proxy.configure(&wider).await;
    let mut sent = Vec::new();
    for _ in 0..2 {
        sent.push(soon(others.recv()).await.unwrap().body);
    }
    sent.sort();
    assert_eq!(sent, [&b"fourth"[..], b"third"]);
}

/// A configuration by which an instance that is not ready is waited for.
fn holding(generation: u64, fakes: &[&Fake], seconds: f64) -> Config {
    let mut config = config(generation, fakes);
    config.timeouts.hold = seconds;
    config
}

#[tokio::test]
async fn where_none_is_ready_who_asks_is_held_until_one_is() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    proxy.configure(&holding(2, &[&fake], 600.0)).await;
    proxy
        .done(&Request::Drain {
            backend: "a".to_owned(),
            wait: true,
        })
        .await;
    let mut clients = Vec::new();
    for waiting in 1..=20 {
        clients.push(proxy.asks("{}", waiting).await);
    }
    assert_eq!(fake.calls(), 0);
    proxy.done(&Request::Admit(fake.backend.clone())).await;
    for client in &mut clients {
        assert_eq!(client.answer().await.status(), 200);
    }
    proxy.until_requests(20, 0, 0).await;
    assert_eq!(proxy.status().await.waiting, 0);
}

#[tokio::test]
async fn where_none_becomes_ready_who_was_held_is_refused() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    proxy.configure(&holding(2, &[&fake], 0.05)).await;
    proxy
        .done(&Request::Drain {
            backend: "a".to_owned(),
            wait: true,
        })
        .await;
    let began = Instant::now();
    let answer = proxy.post("/v1/completions", "{}").await;
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert_eq!(
        (answer.status(), answer.error().as_str()),
        (503, "no_ready_instance")
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    // Nothing is waited for where nothing is configured.
    let nothing = holding(3, &[], 600.0);
    proxy.configure(&nothing).await;
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 503);
}

#[tokio::test]
async fn who_was_sent_to_nobody_is_held_and_goes_to_who_comes() {
    let a = Fake::start("a").await;
    let proxy = Running::before(&[&a]).await;
    let mut next = holding(2, &[&a], 600.0);
    proxy.configure(&next).await;
    drop(a);
    let mut client = proxy.asks("{}", 1).await;
    let b = Fake::start("b").await;
    next.generation = 3;
    next.backends.push(b.backend.clone());
    proxy.configure(&next).await;
    let answer = client.answer().await;
    assert_eq!((answer.status(), answer.instance()), (200, Some("b")));
}

fn chosen(fleet: &Fleet) -> Option<Charge> {
    let headers = HeaderMap::new();
    fleet.claim(&RequestView::new(&headers, None), &[])
}

/// A place for a request, as requests have theirs.
async fn placed(pool: &Pool, wait: &mut Wait) -> Result<Charge, Unplaced> {
    if pool.queue.is_empty()
        && let Some(charge) = chosen(&pool.fleet())
    {
        return Ok(charge);
    }
    place(pool, wait, chosen).await.map(|(_, charge)| charge)
}

fn served(pool: &Pool) -> Vec<Arc<Served>> {
    pool.fleet().members().to_vec()
}

#[tokio::test]
async fn they_are_served_as_they_came_but_for_who_had_his_turn() {
    let fake = Fake::start("a").await;
    let proxy = limited(&[&fake], limits(1, Some(100))).await;
    let pool = proxy.pool();
    let held = placed(&pool, &mut Wait::default()).await.unwrap();
    let (told, mut order) = mpsc::unbounded_channel();
    let (is_taken, mut taken) = mpsc::unbounded_channel();
    let again = Arc::<Notify>::default();
    // It has a place, gives it up for nothing, and comes back.
    let returning = {
        let (pool, told, again) = (Arc::clone(&pool), told.clone(), Arc::clone(&again));
        tokio::spawn(async move {
            let mut wait = Wait::default();
            let charge = placed(&pool, &mut wait).await.unwrap();
            is_taken.send(()).unwrap();
            again.notified().await;
            // Its place is taken by nobody else before it waits again.
            let waiting = place(&pool, &mut wait, chosen);
            let mut waiting = std::pin::pin!(waiting);
            let polled = tokio::time::timeout(Duration::ZERO, waiting.as_mut());
            assert!(polled.await.is_err());
            drop(charge);
            let _charge = waiting.await.unwrap();
            told.send(usize::MAX).unwrap();
        })
    };
    proxy.until_waiting(1).await;
    let mut tasks = vec![returning];
    for number in 0..50 {
        let (pool, told) = (Arc::clone(&pool), told.clone());
        tasks.push(tokio::spawn(async move {
            let charge = placed(&pool, &mut Wait::default()).await.unwrap();
            told.send(number).unwrap();
            drop(charge);
        }));
        proxy.until_waiting(number + 2).await;
    }
    drop((held, told));
    soon(taken.recv()).await.unwrap();
    again.notify_one();
    for task in tasks {
        soon(task).await.unwrap();
    }
    let mut seen = Vec::new();
    while let Some(number) = order.recv().await {
        seen.push(number);
    }
    let expected: Vec<_> = [usize::MAX].into_iter().chain(0..50).collect();
    assert_eq!(seen, expected);
}

/// What is done to an instance while others wait for it.
fn disturb(backend: &Arc<Served>) {
    match fastrand::u8(..4) {
        0 => backend.eject("as it happens"),
        1 => backend.drain(),
        _ => backend.limit(Some(fastrand::u64(1..=CAP))),
    }
}

/// An instance is left as it was.
fn mend(backend: &Arc<Served>) {
    backend.readmit();
    backend.seen();
    backend.limit(Some(CAP));
}

const CAP: u64 = 3;

/// Takes places again and again, and sometimes does not wait for one to its end. Returns how many it
/// had.
async fn takes_places(pool: Arc<Pool>, most: Arc<AtomicU64>) -> usize {
    let mut had = 0;
    for _ in 0..20 {
        let mut wait = Wait::default();
        let placing = placed(&pool, &mut wait);
        let charge = match fastrand::u8(..4) {
            0 => {
                let short = Duration::from_micros(fastrand::u64(..2000));
                let Ok(charge) = tokio::time::timeout(short, placing).await else {
                    continue;
                };
                charge
            }
            _ => soon(placing).await,
        };
        let charge = charge.unwrap();
        most.fetch_max(charge.claim.in_flight(), Ordering::SeqCst);
        had += 1;
        for _ in 0..fastrand::u8(..3) {
            tokio::task::yield_now().await;
        }
    }
    had
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn never_more_are_in_flight_than_may_be_and_nobody_is_forgotten() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    let proxy = Running::before(&[&a, &b]).await;
    for (generation, name) in (2..).zip(PolicySpec::NAMES) {
        let mut limited = Config {
            policy: PolicySpec::named(name).unwrap(),
            limits: limits(3, Some(1000)),
            ..holding(generation, &[&a, &b], 600.0)
        };
        limited.timeouts.queue = 600.0;
        proxy.configure(&limited).await;
        let most = Arc::<AtomicU64>::default();
        let tasks: Vec<_> = (0..100)
            .map(|_| tokio::spawn(takes_places(proxy.pool(), Arc::clone(&most))))
            .collect();
        let backends = served(&proxy.pool());
        for turn in 0..200 {
            let backend = &backends[turn % 2];
            disturb(backend);
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..200))).await;
            mend(backend);
        }
        let mut had = 0;
        for task in tasks {
            had += soon(task).await.unwrap();
        }
        assert!(had >= 1000, "{name}: {had}");
        assert_eq!(most.load(Ordering::SeqCst), CAP, "{name}");
        assert_eq!(proxy.pool().queue.length(), 0, "{name}");
        for backend in backends {
            assert_eq!(backend.in_flight(), 0, "{name}");
        }
    }
}

#[tokio::test]
async fn a_second_attempt_takes_no_place_that_somebody_waits_for() {
    let (a, mut calls) = Fake::driven("a").await;
    let (b, mut others) = Fake::driven("b").await;
    let proxy = limited(&[&a, &b], limits(1, None)).await;
    let mut client = proxy.asks("{}", 0).await;
    let (mut call, other) = tokio::select! {
        call = calls.recv() => (call.unwrap(), 1),
        call = others.recv() => (call.unwrap(), 0),
    };
    let pool = proxy.pool();
    let held = served(&pool)[other].claim(None).unwrap();
    let mut wait = Wait::default();
    let mut waiting = std::pin::pin!(place(&pool, &mut wait, chosen));
    let polled = tokio::time::timeout(Duration::ZERO, waiting.as_mut());
    assert!(polled.await.is_err());
    // It is called, and has not looked yet.
    drop(held);
    call.reply("429 Too Many Requests", "{}").await;
    assert_eq!(client.answer().await.status(), 429);
    assert_eq!(a.calls() + b.calls(), 1);
    let charge = soon(waiting).await.unwrap().1;
    assert_eq!(charge.claim.in_flight(), 1);
}
