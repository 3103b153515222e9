//! The loop, driven by closed and by timed pacings.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::time::{Instant, sleep};

use super::*;
use crate::shape::Pacing;
use crate::shape::known::{batch, concurrency, sequential};

/// The answers of a drive that nobody stops.
async fn drive<T: Transport>(schedule: Schedule, transport: Arc<T>) -> Vec<T::Answer> {
    let answers = super::drive(schedule, transport, std::future::pending()).await;
    assert_eq!(answers.cut, None);
    answers.landed
}

/// Counts what is in flight; a request ends when `together` of them have met.
struct Counting {
    now: AtomicU32,
    peak: AtomicU32,
    opened: AtomicU32,
    opened_at_first: AtomicU32,
    together: Barrier,
}

impl Counting {
    fn meeting(together: usize) -> Arc<Self> {
        Arc::new(Self {
            now: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            opened: AtomicU32::new(0),
            opened_at_first: AtomicU32::new(0),
            together: Barrier::new(together),
        })
    }
}

impl Transport for Counting {
    type Connection = ();
    type Answer = u32;

    fn now(&self) -> Duration {
        Duration::ZERO
    }

    async fn open(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    async fn send(&self, (): (), index: u32, _: Option<Duration>) -> u32 {
        if index == 0 {
            self.opened_at_first
                .store(self.opened.load(Relaxed), Relaxed);
        }
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(now, Relaxed);
        self.together.wait().await;
        self.now.fetch_sub(1, Relaxed);
        index
    }
}

#[tokio::test]
async fn a_batch_is_all_in_flight_over_links_made_before() {
    let transport = Counting::meeting(8);
    let seen = drive(batch(8).schedule(), transport.clone()).await;
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
    assert_eq!(transport.peak.load(Relaxed), 8);
    assert_eq!(transport.opened_at_first.load(Relaxed), 8);
}

#[tokio::test]
async fn a_sequence_has_one_in_flight() {
    let transport = Counting::meeting(1);
    let seen = drive(sequential(5).schedule(), transport.clone()).await;
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    assert_eq!(transport.peak.load(Relaxed), 1);
    assert_eq!(transport.opened.load(Relaxed), 5);
}

#[tokio::test]
async fn a_closed_course_never_has_more_in_flight_than_it_says() {
    let transport = Counting::meeting(3);
    let seen = drive(concurrency(3, 9).schedule(), transport.clone()).await;
    assert_eq!(seen.len(), 9);
    assert_eq!(transport.peak.load(Relaxed), 3);
    assert_eq!(transport.opened.load(Relaxed), 9);
}

/// A server that takes so long, on a paused clock, and over a connection that takes so long.
struct Slow {
    began: Instant,
    answer: Duration,
    connect: Duration,
    sent: Mutex<Vec<(u32, Duration, Option<Duration>)>>,
}

impl Slow {
    fn new(answer: u64, connect: u64) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            answer: ms(answer),
            connect: ms(connect),
            sent: Mutex::default(),
        })
    }
}

impl Transport for Slow {
    type Connection = ();
    type Answer = u32;

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn open(&self) {
        sleep(self.connect).await;
    }

    async fn send(&self, (): (), index: u32, planned: Option<Duration>) -> u32 {
        self.sent.lock().unwrap().push((index, self.now(), planned));
        sleep(self.answer).await;
        index
    }
}

/// Requests by the clock, whatever is in flight.
#[derive(Debug)]
struct Timed {
    moments: std::vec::IntoIter<Duration>,
    in_flight: Arc<Mutex<Vec<(Duration, u32)>>>,
}

impl Pacing for Timed {
    fn next(&mut self, now: Duration, in_flight: u32) -> Next {
        self.in_flight.lock().unwrap().push((now, in_flight));
        self.moments.next().map_or(Next::Done, Next::At)
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

type Asked = Arc<Mutex<Vec<(Duration, u32)>>>;

fn timed(moments: &[u64]) -> (Schedule, Asked) {
    let asked = Asked::default();
    let moments: Vec<Duration> = moments.iter().map(|moment| ms(*moment)).collect();
    let schedule = Schedule {
        requests: moments.len() as u32,
        in_flight: moments.len() as u32,
        pacing: Box::new(Timed {
            moments: moments.into_iter(),
            in_flight: Arc::clone(&asked),
        }),
    };
    (schedule, asked)
}

#[tokio::test(start_paused = true)]
async fn an_open_pacing_sends_by_the_clock_however_slow_the_server_is() {
    let server = Slow::new(1000, 5);
    let (schedule, asked) = timed(&[10, 110, 310, 2000]);
    assert_eq!(drive(schedule, server.clone()).await, [0, 1, 2, 3]);
    let sent = server.sent.lock().unwrap().clone();
    let expected = [10, 110, 310, 2000].map(ms);
    let at: Vec<Duration> = sent.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(at, expected);
    let planned: Vec<_> = sent.iter().filter_map(|(.., planned)| *planned).collect();
    assert_eq!(planned, expected);
    // It is asked at each sending, and told what is in flight: three, and later one.
    let asked = asked.lock().unwrap().clone();
    let expected = [(0, 0), (10, 1), (110, 2), (310, 3), (2000, 1)];
    assert_eq!(asked, expected.map(|(at, n)| (ms(at), n)));
}

#[tokio::test(start_paused = true)]
async fn what_is_late_keeps_the_moment_that_was_planned() {
    let server = Slow::new(1, 50); // a connection takes longer than there is time
    let (schedule, _) = timed(&[10, 200]);
    drive(schedule, server.clone()).await;
    let sent = server.sent.lock().unwrap().clone();
    assert_eq!(
        sent,
        [
            (0, ms(50), Some(ms(10))),
            (1, ms(200), Some(ms(200))) // its connection was made while it waited
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_sends_the_next_when_one_has_ended() {
    let server = Slow::new(100, 0);
    drive(concurrency(2, 5).schedule(), server.clone()).await;
    let sent = server.sent.lock().unwrap().clone();
    let at: Vec<Duration> = sent.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(at, [0, 0, 100, 100, 200].map(ms));
}

#[tokio::test(start_paused = true)]
async fn a_drive_that_is_stopped_keeps_what_has_ended_and_sends_no_more() {
    let server = Slow::new(100, 0);
    let schedule = concurrency(2, 8).schedule();
    let answers = super::drive(schedule, server.clone(), sleep(ms(250))).await;
    assert_eq!(answers.landed, [0, 1, 2, 3]);
    assert_eq!(answers.cut, Some(2));
    sleep(ms(1000)).await;
    assert_eq!(server.sent.lock().unwrap().len(), 6);
    let (schedule, _) = timed(&[10, 500]);
    let answers = super::drive(schedule, Slow::new(100, 0), sleep(ms(50))).await;
    assert_eq!((answers.landed.len(), answers.cut), (0, Some(1)));
}
