//! The loop, driven by closed and by timed pacings.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::time::{Instant, sleep};

use super::*;
use crate::shape::known::{batch, concurrency, sequential};
use crate::shape::{Pacing, Shape, Stop};

const OK: Ended = Ended {
    is_ok: true,
    waited: None,
};

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

    fn is_good(&self, (): &()) -> bool {
        true
    }

    fn not_sent(&self, _: u32, _: Duration) -> u32 {
        panic!("nothing bounds it")
    }

    fn ended(&self, _: &u32) -> Ended {
        OK
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

/// What an answer is called that never was.
const NOT_SENT: u32 = 1000;

/// A server that takes so long, on a paused clock, and over a connection that takes so long.
struct Slow {
    began: Instant,
    answer: Duration,
    connect: Duration,
    sent: Mutex<Vec<(u32, Duration, Option<Duration>)>>,
    opened: Mutex<Vec<Duration>>,
    /// Connections go bad after so long.
    lasts: Duration,
    /// Whether what it answers is.
    is_ok: bool,
}

impl Slow {
    fn new(answer: u64, connect: u64) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            answer: ms(answer),
            connect: ms(connect),
            sent: Mutex::default(),
            opened: Mutex::default(),
            lasts: Duration::MAX,
            is_ok: true,
        })
    }
}

impl Transport for Slow {
    /// When it was made.
    type Connection = Duration;
    type Answer = u32;

    fn is_good(&self, made: &Duration) -> bool {
        self.now() < made.saturating_add(self.lasts)
    }

    fn not_sent(&self, index: u32, _: Duration) -> u32 {
        NOT_SENT + index
    }

    fn ended(&self, _: &u32) -> Ended {
        Ended {
            is_ok: self.is_ok,
            ..OK
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn open(&self) -> Duration {
        self.opened.lock().unwrap().push(self.now());
        sleep(self.connect).await;
        self.now()
    }

    async fn send(&self, made: Duration, index: u32, planned: Option<Duration>) -> u32 {
        assert!(self.is_good(&made));
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
        stop: Stop::after(moments.len() as u32),
        in_flight: None,
        ahead: 1,
        likely: None,
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
    // The first sending could be no sooner than its connection, and all moments are counted from there.
    let expected = [15, 115, 315, 2005].map(ms);
    let at: Vec<Duration> = sent.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(at, expected);
    let planned: Vec<_> = sent.iter().filter_map(|(.., planned)| *planned).collect();
    assert_eq!(planned, expected);
    // It is asked at each sending but the last, and told what is in flight.
    let asked = asked.lock().unwrap().clone();
    let expected = [(0, 0), (10, 1), (110, 2), (310, 3)];
    assert_eq!(asked, expected.map(|(at, n)| (ms(at), n)));
}

#[tokio::test(start_paused = true)]
async fn what_is_late_keeps_the_moment_that_was_planned() {
    let server = Slow::new(1, 50); // a connection takes longer than there is time
    let (schedule, _) = timed(&[10, 11, 200]);
    drive(schedule, server.clone()).await;
    let sent = server.sent.lock().unwrap().clone();
    // The first took the connection that was ready, the second came before the next was.
    assert_eq!(
        sent,
        [
            (0, ms(60), Some(ms(60))),
            (1, ms(110), Some(ms(61))),
            (2, ms(250), Some(ms(250)))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_open_load_that_may_have_so_many_in_flight_drops_the_others_and_counts_them() {
    let server = Slow::new(100, 0);
    let (schedule, _) = timed(&[10, 20, 30, 40, 150]);
    let schedule = Schedule {
        in_flight: Some(2),
        ..schedule
    };
    let landed = drive(schedule, server.clone()).await;
    assert_eq!(landed, [0, 1, NOT_SENT + 2, NOT_SENT + 3, 4]);
    let sent = server.sent.lock().unwrap().clone();
    let at: Vec<Duration> = sent.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(at, [10, 20, 150].map(ms));
}

#[tokio::test(start_paused = true)]
async fn a_load_by_time_sends_no_more_then_and_waits_for_what_is_in_flight() {
    let server = Slow::new(700, 0);
    let constant: Shape = serde_json::from_value(
        serde_json::json!({"rate": "4/s", "duration": 1, "arrivals": "constant"}),
    )
    .unwrap();
    let landed = drive(constant.schedule(), server.clone()).await;
    assert_eq!(landed, [0, 1, 2]);
    let sent = server.sent.lock().unwrap().clone();
    let at: Vec<Duration> = sent.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(at, [250, 500, 750].map(ms));
    assert_eq!(server.now(), ms(1450));
}

#[tokio::test(start_paused = true)]
async fn a_load_of_failures_is_stopped_and_says_why() {
    let server = Arc::new(Slow {
        is_ok: false,
        ..Arc::into_inner(Slow::new(100, 0)).unwrap()
    });
    let schedule = concurrency(2, 500).schedule();
    let answers = super::drive(schedule, server.clone(), std::future::pending()).await;
    assert_eq!(answers.cut, None);
    let stopped = answers.stopped.unwrap();
    assert_eq!(
        stopped.to_string(),
        "stopped after 0 s: 10 of 10 requests had failed"
    );
    assert!(answers.landed.len() <= 12);
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_has_its_next_connections_ready() {
    // A connection takes longer than all else, and is in nobody's way.
    let server = Slow::new(100, 70);
    drive(concurrency(2, 6).schedule(), server.clone()).await;
    let sent = server.sent.lock().unwrap().clone();
    let at: Vec<Duration> = sent.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(at, [70, 70, 170, 170, 270, 270].map(ms));
    // As many as there were requests, and none for those that were over.
    assert_eq!(server.opened.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_went_bad_before_its_request_is_made_anew() {
    let server = Arc::new(Slow {
        lasts: ms(50),
        ..Arc::into_inner(Slow::new(100, 10)).unwrap()
    });
    // That each is good when it is sent over, the server itself asserts.
    assert_eq!(
        drive(sequential(3).schedule(), server.clone()).await,
        [0, 1, 2]
    );
    let at: Vec<Duration> = server.sent.lock().unwrap().iter().map(|it| it.1).collect();
    assert_eq!(at, [10, 120, 230].map(ms));
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

/// A server that answers one after another, so long each.
struct Serial {
    began: Instant,
    each: Duration,
    busy: tokio::sync::Mutex<()>,
}

impl Transport for Serial {
    type Connection = ();
    /// From its planned moment until it was answered.
    type Answer = Duration;

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    async fn open(&self) {}

    fn is_good(&self, (): &()) -> bool {
        true
    }

    fn not_sent(&self, _: u32, _: Duration) -> Duration {
        panic!("nothing bounds it")
    }

    fn ended(&self, _: &Duration) -> Ended {
        OK
    }

    async fn send(&self, (): (), _: u32, planned: Option<Duration>) -> Duration {
        let _busy = self.busy.lock().await;
        sleep(self.each).await;
        self.now().saturating_sub(planned.unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_load_shows_the_queue_of_a_server_that_answers_one_after_another() {
    let served = async |each: u64| {
        let server = Arc::new(Serial {
            began: Instant::now(),
            each: ms(each),
            busy: tokio::sync::Mutex::default(),
        });
        let (schedule, _) = timed(&[100, 200, 300, 400, 500, 600]);
        drive(schedule, server).await
    };
    // One that keeps up has no queue; before one that is half as fast, each waits for half of an
    // answer more than the one before it, and none is left out.
    assert_eq!(served(100).await, [100; 6].map(ms));
    assert_eq!(served(200).await, [200, 300, 400, 500, 600, 700].map(ms));
}
