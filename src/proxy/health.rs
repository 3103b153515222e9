//! Looks at each backend again and again: is it there, and is it the one that was meant?
//!
//! vLLM binds with `SO_REUSEPORT`, so a stale server can answer on the right port. What proves a
//! backend is its nonce, a served name that only its process has; that its engine lives, `/health`
//! says, and that it gets on, a canary where nothing else does. One that has no nonce is only asked
//! whether it answers. Upstream errors say nothing here: one bad request sent by many would take the
//! whole fleet out.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backend::Backend;
use super::canary::{self, Canary, Question, Reply, Waits};
use super::control::BackendState;
use super::fleet::Fleet;
use super::kv_cache;
use super::pairs::{LastTry, Pairs, Proved};
use super::proof::serves;
use super::sockets;
use crate::describe::describe;

const INTERVAL_READY: Duration = Duration::from_secs(5);
const INTERVAL_OUT: Duration = Duration::from_secs(1);
/// Suspicion brings the next probe forward, but a thousand suspicions are still one.
const INTERVAL_SUSPECTED: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(5);
/// vLLM's API server is one thread that also tokenizes: a late answer is not yet a dead server.
const PATIENCE: u32 = 3;
/// Where a server lists its models.
const MODELS: &str = "/v1/models";
/// Where it says whether its engine lives.
const HEALTH: &str = "/health";
/// Where vLLM says how much its cache holds.
const METRICS: &str = "/metrics";
/// The largest list of models that is read, in bytes. vLLM's is some 500 bytes a model.
const LARGEST_LIST: usize = 1024 * 1024;

/// Asks backends for their served names.
#[derive(Debug, Clone)]
pub(super) struct Prober {
    client: reqwest::Client,
    pairs: Pairs,
    waits: Waits,
}

/// Probes one backend until it is dropped.
#[derive(Debug)]
pub(super) struct Probing(JoinHandle<()>);

impl Drop for Probing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a probe did not see a backend.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unseen {
    #[error("{0}")]
    Unreachable(String),
    #[error("another server answers at {authority}: it does not serve `{nonce}`")]
    Stranger { authority: String, nonce: String },
    /// vLLM's API server lives on for a while when its engine died, and answers 500.
    #[error("its engine is dead: {0} answers 503")]
    EngineDead(String),
    #[error("it is stuck: nothing comes of any request, nor of a short one within {0:?}")]
    Stuck(Duration),
    /// What is computed for it, or by it, does not get where it is needed.
    #[error("{0}")]
    Unpaired(String),
    #[error("{0}")]
    Unclear(String),
    /// The proxy has no descriptor, port or memory to look with: that says nothing of a backend.
    #[error("the proxy cannot probe: {0}")]
    NotLooked(String),
}

impl Prober {
    /// Makes a prober. A backend that wants an API key is shown its own, and only after it asked.
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // A kept connection would lead to the old process when another took the port.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self {
            pairs: Pairs::new(client.clone()),
            client,
            waits: Waits::default(),
        })
    }

    /// Probes a backend from now on, among those of a fleet.
    pub(super) fn watch(&self, backend: Arc<Backend>, fleet: Arc<ArcSwap<Fleet>>) -> Probing {
        let prober = self.clone();
        Probing(tokio::spawn(async move {
            prober.look_after(&backend, &fleet).await;
        }))
    }

    async fn look_after(&self, backend: &Backend, fleet: &ArcSwap<Fleet>) {
        let mut condition = backend.watch();
        let mut misses = 0;
        let mut canary = Canary::new(self.waits);
        let mut last_try = LastTry::default();
        loop {
            let drained = |c: &super::backend::Condition| c.state != BackendState::Draining;
            if condition.wait_for(drained).await.is_err() {
                return;
            }
            let began = Instant::now();
            let seen = match self.probe(backend).await {
                Ok(list) => self.check_progress(backend, &mut canary, list).await,
                Err(unseen) => Err(unseen),
            };
            let was_ready = backend.state() == BackendState::Ready;
            let mut turn = None;
            let seen = match seen {
                Ok(list) if !was_ready => {
                    turn = self.pairs.turn(fleet).await;
                    match &mut turn {
                        Some(proved) => {
                            self.pair(backend, &list, (fleet, proved), &mut last_try)
                                .await
                        }
                        None => Ok(()),
                    }
                }
                seen => seen.map(drop),
            };
            let seen = seen.map_err(|unseen| explained(unseen, &last_try));
            match seen {
                Ok(()) => misses = 0,
                Err(Unseen::NotLooked(_)) => {}
                Err(_) => misses += 1,
            }
            let is_alive = seen.is_ok();
            judge(backend, seen, misses);
            // Whoever waits for the look goes by the state that came of it.
            backend.looked(began, is_alive);
            drop(turn);
            if !was_ready && backend.state() == BackendState::Ready {
                self.read_cache(backend).await;
            }
            backend.connections.sweep();
            tokio::select! {
                () = tokio::time::sleep(jittered(interval(backend))) => {}
                () = backend.suspected() => {
                    tokio::time::sleep_until(began + INTERVAL_SUSPECTED).await;
                }
            }
        }
    }

    /// Looks once, and returns the list of models, where there is one.
    async fn probe(&self, backend: &Backend) -> Result<Vec<u8>, Unseen> {
        let list = match &backend.spec.nonce {
            Some(nonce) => self.probe_for(nonce, backend).await?,
            None => self.probe_for_life(backend).await?,
        };
        self.check_engine(backend).await?;
        Ok(list)
    }

    async fn probe_for(&self, nonce: &str, backend: &Backend) -> Result<Vec<u8>, Unseen> {
        let answer = self.look_at(MODELS, backend).await?;
        if answer.status() != StatusCode::OK {
            return Err(unclear(&answer));
        }
        let list = read(answer).await?;
        if serves(&list, nonce) {
            return Ok(list);
        }
        Err(Unseen::Stranger {
            authority: backend.spec.authority.clone(),
            nonce: nonce.to_owned(),
        })
    }

    /// Not every server lists its models to everybody: one that wants the client's own key for it is
    /// there all the same, and says so at `/health`.
    async fn probe_for_life(&self, backend: &Backend) -> Result<Vec<u8>, Unseen> {
        let models = self.look_at(MODELS, backend).await?;
        if models.status() == StatusCode::OK {
            return read(models).await;
        }
        let health = self.look_at(HEALTH, backend).await?;
        match health.status() {
            StatusCode::OK => Ok(Vec::new()),
            _ => Err(unclear(&models)),
        }
    }

    /// Asks for the health of the engine behind a server. Only what vLLM says of a dead one counts:
    /// others may have no such page.
    async fn check_engine(&self, backend: &Backend) -> Result<(), Unseen> {
        let url = format!("http://{}{HEALTH}", backend.authority);
        match self.ask(&url, None).await?.status() {
            StatusCode::SERVICE_UNAVAILABLE => Err(Unseen::EngineDead(url)),
            _ => Ok(()),
        }
    }

    /// Sends a canary where one is wanted.
    async fn check_progress(
        &self,
        backend: &Backend,
        canary: &mut Canary,
        list: Vec<u8>,
    ) -> Result<Vec<u8>, Unseen> {
        if canary.is_wanted(backend) {
            let questions = canary::questions(&list, &backend.tally.answers);
            if !questions.is_empty() {
                let has_answered = self.answers(backend, questions, canary.patience()).await;
                canary.note(backend, has_answered);
            }
        }
        if canary.is_stuck() {
            return Err(Unseen::Stuck(canary.patience()));
        }
        Ok(list)
    }

    /// Tries one that is about to be admitted with those that do other parts.
    async fn pair(
        &self,
        backend: &Backend,
        list: &[u8],
        among: (&ArcSwap<Fleet>, &mut Proved),
        last_try: &mut LastTry,
    ) -> Result<(), Unseen> {
        let Some(model) = canary::first_model(list) else {
            return Ok(());
        };
        let admitted = self.pairs.admit(backend, &model, among, last_try).await;
        admitted.map_err(Unseen::Unpaired)
    }

    /// Whether one of these is answered in time, with whatever. The first that is not refused decides.
    async fn answers(&self, backend: &Backend, questions: Vec<Question>, within: Duration) -> bool {
        for question in questions {
            match self.reply_to(&question, backend, within).await {
                Reply::Refused => {}
                reply => return reply == Reply::Some,
            }
        }
        true
    }

    async fn reply_to(&self, question: &Question, backend: &Backend, within: Duration) -> Reply {
        let url = format!("http://{}{}", backend.authority, question.path);
        let mut request = self.client.post(url).timeout(within).json(&question.body);
        if let Some(key) = &backend.authorization {
            request = request.header(AUTHORIZATION, key);
        }
        match request.send().await {
            Ok(answer) if answer.status().is_client_error() => Reply::Refused,
            Err(error) if error.is_timeout() => Reply::Nothing,
            _ => Reply::Some,
        }
    }

    /// Reads how much the cache of one that has become ready holds. Not every server says it.
    async fn read_cache(&self, backend: &Backend) {
        let page = match self.look_at(METRICS, backend).await {
            Ok(page) if page.status() == StatusCode::OK => read(page).await,
            _ => return,
        };
        let page = page.ok().and_then(|page| String::from_utf8(page).ok());
        let tokens = page.and_then(|page| kv_cache::tokens(&page));
        backend
            .cache
            .store(tokens.unwrap_or_default(), Ordering::Relaxed);
    }

    async fn look_at(&self, path: &str, backend: &Backend) -> Result<reqwest::Response, Unseen> {
        let url = format!("http://{}{path}", backend.authority);
        let answer = self.ask(&url, None).await?;
        match &backend.authorization {
            Some(key) if answer.status() == StatusCode::UNAUTHORIZED => {
                self.ask(&url, Some(key)).await
            }
            _ => Ok(answer),
        }
    }

    async fn ask(&self, url: &str, key: Option<&HeaderValue>) -> Result<reqwest::Response, Unseen> {
        let mut request = self.client.get(url);
        if let Some(key) = key {
            request = request.header(AUTHORIZATION, key);
        }
        request.send().await.map_err(|error| unreached(&error))
    }
}

fn unclear(answer: &reqwest::Response) -> Unseen {
    Unseen::Unclear(format!("{} answers {}", answer.url(), answer.status()))
}

/// The body of an answer, unless it is too large: whoever answers may be anybody.
async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, Unseen> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| unreached(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > LARGEST_LIST {
            let url = answer.url();
            let unclear = format!("{url} answers more than {LARGEST_LIST} bytes");
            return Err(Unseen::Unclear(unclear));
        }
    }
    Ok(body)
}

/// No connection, or one that broke, is a server that is not there; silence may be one that is busy.
fn unreached(error: &reqwest::Error) -> Unseen {
    if error.is_timeout() && !error.is_connect() {
        Unseen::Unclear(format!("no answer to a probe within {ANSWER:?}"))
    } else if is_own_fault(error) {
        Unseen::NotLooked(describe(error))
    } else {
        Unseen::Unreachable(describe(error))
    }
}

/// Whether the proxy itself is out of descriptors: then no backend is to blame.
fn is_own_fault(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |&cause| cause.source())
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(sockets::is_own_fault)
}

/// Why one that is gone was never admitted, where that is known.
fn explained(unseen: Unseen, last_try: &LastTry) -> Unseen {
    let explanation = match &unseen {
        Unseen::Unreachable(why) => last_try.explains(why),
        Unseen::EngineDead(_) => last_try.explains(&unseen.to_string()),
        _ => None,
    };
    explanation.map_or(unseen, Unseen::Unpaired)
}

fn judge(backend: &Backend, seen: Result<(), Unseen>, misses: u32) {
    match seen {
        Ok(()) => backend.seen(),
        Err(Unseen::Unclear(why)) if misses < PATIENCE => backend.trouble(&why),
        Err(unseen @ Unseen::NotLooked(_)) => backend.trouble(&unseen.to_string()),
        Err(unseen) => backend.eject_as_probed(&unseen.to_string()),
    }
}

fn interval(backend: &Backend) -> Duration {
    match backend.state() {
        BackendState::Ready => INTERVAL_READY,
        _ => INTERVAL_OUT,
    }
}

/// Spreads the probes, so that many backends are not asked at the same moment.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::plan::Role;
    use crate::plan::effect::control::{Hidden, Key};
    use crate::proxy::control;
    use crate::proxy::pool::Pool;

    /// Answers each request by what its head says, and returns a backend there.
    async fn backend(
        key: Option<&str>,
        answer: impl Fn(&str) -> &'static str + Send + 'static,
    ) -> Backend {
        known_by(Some("replica-1"), key, answer).await
    }

    /// The same of one that has this nonce, or none.
    async fn known_by(
        nonce: Option<&str>,
        key: Option<&str>,
        answer: impl Fn(&str) -> &'static str + Send + 'static,
    ) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spec = control::Backend {
            name: "a".to_owned(),
            authority: listener.local_addr().unwrap().to_string(),
            role: Role::Both,
            nonce: nonce.map(str::to_owned),
            key: key.map(|key| Key {
                digest: "of it".to_owned(),
                hidden: Some(Hidden(key.to_owned())),
            }),
        };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let reply = answer(&String::from_utf8_lossy(&head[..length]));
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        Backend::new(spec, Arc::default()).unwrap()
    }

    const SEEN: &str =
        "HTTP/1.1 200 OK\r\ncontent-length: 29\r\n\r\n{\"data\":[{\"id\":\"replica-1\"}]}";
    const LOCKED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
    const FAILING: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";

    async fn probe(backend: &Backend) -> Result<(), Unseen> {
        Prober::new().unwrap().probe(backend).await.map(drop)
    }

    #[tokio::test]
    async fn the_key_is_shown_to_a_backend_that_asks_for_it() {
        let locked = |head: &str| {
            if head.contains("authorization: Bearer k") {
                SEEN
            } else {
                LOCKED
            }
        };
        assert_eq!(probe(&backend(Some("k"), locked).await).await, Ok(()));
        let unseen = probe(&backend(None, locked).await).await;
        assert!(matches!(unseen, Err(Unseen::Unclear(_))), "{unseen:?}");
    }

    #[tokio::test]
    async fn the_key_is_shown_to_no_one_else() {
        let curious = |head: &str| {
            if head.contains("authorization") {
                FAILING
            } else {
                SEEN
            }
        };
        let backend = backend(Some("k"), curious).await;
        assert_eq!(probe(&backend).await, Ok(()));
    }

    #[tokio::test]
    async fn a_page_of_something_else_is_a_stranger() {
        let unseen = probe(&backend(None, |_| PAGE).await).await;
        assert!(matches!(unseen, Err(Unseen::Stranger { .. })), "{unseen:?}");
    }

    #[tokio::test]
    async fn one_without_a_nonce_is_asked_only_whether_it_answers() {
        let of_somebody = backend(None, |_| PAGE).await;
        assert!(probe(&of_somebody).await.is_err());
        let believed = known_by(None, None, |_| PAGE).await;
        assert_eq!(probe(&believed).await, Ok(()));
        // It lists its models to its own clients alone.
        let locked = |head: &str| {
            if head.starts_with("GET /health ") {
                PAGE
            } else {
                LOCKED
            }
        };
        assert_eq!(probe(&known_by(None, None, locked).await).await, Ok(()));
        let unseen = probe(&known_by(None, None, |_| FAILING).await).await;
        let Err(Unseen::Unclear(why)) = unseen else {
            panic!("{unseen:?}");
        };
        assert!(why.contains("/v1/models answers 500"), "{why}");
    }

    #[tokio::test]
    async fn a_failing_list_is_borne_for_a_while() {
        let backend = backend(None, |_| FAILING).await;
        backend.seen();
        for misses in 1..PATIENCE {
            judge(&backend, probe(&backend).await, misses);
            assert_eq!(backend.state(), BackendState::Ready);
        }
        judge(&backend, probe(&backend).await, PATIENCE);
        assert_eq!(backend.state(), BackendState::Ejected);
    }

    #[tokio::test]
    async fn what_the_proxy_lacks_takes_nobody_out_however_often() {
        let backend = backend(None, |_| SEEN).await;
        backend.seen();
        for misses in 0..2 * PATIENCE {
            let unseen = Unseen::NotLooked("too many open files".to_owned());
            judge(&backend, Err(unseen), misses);
        }
        let status = backend.status();
        assert_eq!(status.state, BackendState::Ready);
        let trouble = status.trouble.unwrap();
        assert_eq!(trouble, "the proxy cannot probe: too many open files");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_to_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spec = control::Backend {
            name: "a".to_owned(),
            authority: listener.local_addr().unwrap().to_string(),
            role: Role::Both,
            nonce: Some("replica-1".to_owned()),
            key: None,
        };
        let sending = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(&[b' '; 8192]).await.is_ok() {}
        });
        let backend = Backend::new(spec, Arc::default()).unwrap();
        let unseen = probe(&backend).await.unwrap_err().to_string();
        assert!(
            unseen.ends_with("answers more than 1048576 bytes"),
            "{unseen}"
        );
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn a_dead_engine_behind_a_living_server_is_seen() {
        let dead = |head: &str| {
            if head.starts_with("GET /health ") {
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
            } else {
                SEEN
            }
        };
        let backend = backend(None, dead).await;
        backend.seen();
        let unseen = probe(&backend).await;
        assert!(matches!(unseen, Err(Unseen::EngineDead(_))), "{unseen:?}");
        judge(&backend, unseen, 1);
        assert_eq!(backend.state(), BackendState::Ejected);
    }

    const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

    /// Answers probes, and what it serves only when it is told to; each on a connection of its own.
    async fn stuck(serves: &'static str, is_stuck: Arc<AtomicBool>) -> Arc<Backend> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let is_stuck = Arc::clone(&is_stuck);
                tokio::spawn(async move {
                    let mut head = vec![0; 4096];
                    let length = stream.read(&mut head).await.unwrap();
                    let head = String::from_utf8_lossy(&head[..length]).into_owned();
                    let is_served = head.starts_with(&format!("POST {serves} "));
                    while is_served && is_stuck.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    let answer = if head.starts_with("GET") || is_served {
                        SEEN
                    } else {
                        NOT_FOUND
                    };
                    stream.write_all(answer.as_bytes()).await.ok();
                });
            }
        });
        let spec = control::Backend {
            name: "a".to_owned(),
            authority,
            role: Role::Both,
            nonce: Some("replica-1".to_owned()),
            key: None,
        };
        Arc::new(Backend::new(spec, Arc::default()).unwrap())
    }

    #[tokio::test]
    async fn one_that_answers_probes_and_nothing_else_is_taken_out_until_it_does() {
        for serves in ["/v1/completions", "/v1/embeddings", "/rerank"] {
            is_taken_out_until_it_serves(serves).await;
        }
    }

    async fn is_taken_out_until_it_serves(serves: &'static str) {
        let is_stuck = Arc::new(AtomicBool::new(true));
        let backend = stuck(serves, Arc::clone(&is_stuck)).await;
        let prober = Prober {
            waits: Waits {
                still: Duration::from_millis(50),
                answer: Duration::from_millis(200),
            },
            ..Prober::new().unwrap()
        };
        let fleets = Pool::new(prober.clone()).fleets();
        let _watch = prober.watch(Arc::clone(&backend), fleets);
        let mut condition = backend.watch();
        let mut until = async |state| {
            let wanted = condition.wait_for(|it| it.state == state);
            let reached = tokio::time::timeout(Duration::from_secs(60), wanted).await;
            reached.unwrap().unwrap().trouble.clone()
        };
        until(BackendState::Ready).await;
        // Without a request in flight nothing is missed.
        tokio::time::sleep(Duration::from_millis(60)).await;
        let claim = backend.claim(None).unwrap();
        backend.suspect();
        let asking = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                backend.suspect();
            }
        };
        let trouble = tokio::select! {
            trouble = until(BackendState::Ejected) => trouble.unwrap(),
            () = asking => unreachable!(),
        };
        assert!(trouble.starts_with("it is stuck"), "{trouble}");
        let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::SeqCst);
        assert!(count(&backend.tally.canaries) >= count(&backend.tally.canaries_lost));
        assert!(count(&backend.tally.canaries_lost) > 0);
        drop(claim);
        is_stuck.store(false, Ordering::SeqCst);
        until(BackendState::Ready).await;
    }
}
