//! Asking a server that runs for a sign of life.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::server::Server;
use super::wait_ready::{answered_as_it_should, request};
use crate::node::{HttpAnswer, HttpConnection, HttpRequest, Node, NodeError};
use crate::plan::{Counters, Failure, Liveness, LivenessProbe};
use crate::prometheus::Page;

/// How long a server may take to show that it lives. It is the longest that a look takes.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a page of counters may take: it is one that a server has at hand.
const PAGE: Duration = Duration::from_secs(2);

/// Between two looks at the counters of one that is busy.
const PAUSE: Duration = Duration::from_millis(200);

/// What takes longer is worth telling.
const SLOW: Duration = Duration::from_secs(1);

/// Asks a server for a sign of life. Where it works on something, its counters are looked at until
/// one goes up; it is asked to do something itself only where it is idle, or counts nothing. `early`
/// is its page of counters, where that is on its way already.
///
/// # Errors
///
/// When the server cannot be asked from here, which tells nothing of it.
pub async fn liveness(
    node: &Node,
    probe: &LivenessProbe,
    early: Option<EarlyPage>,
) -> Result<Liveness, Failure> {
    let began = Instant::now();
    let mut asking = Asking {
        node,
        probe,
        server: Server::new(node, &probe.host, probe.port),
        deadline: began + LIMIT,
    };
    let before = asking.counted_early(early).await?;
    if let Some(before) = before.filter(|before| before.running > 0.0) {
        return asking.watch(before).await;
    }
    asking.ask(before, began).await
}

/// A page of counters that is asked for while the node is still looked at, so that it costs no round
/// trip of its own.
#[derive(Debug)]
pub struct EarlyPage {
    fetch: JoinSet<Option<(HttpConnection, HttpAnswer)>>,
}

impl EarlyPage {
    /// Asks for the page at this path.
    pub fn ask(mut connection: HttpConnection, path: &str) -> Self {
        let request = HttpRequest::get(path);
        let mut fetch = JoinSet::new();
        fetch.spawn(async move {
            let answer = connection.exchange(&request).await.ok()?;
            Some((connection, answer))
        });
        Self { fetch }
    }
}

/// What is asked, and until when.
struct Asking<'a> {
    node: &'a Node,
    probe: &'a LivenessProbe,
    server: Server<'a>,
    deadline: Instant,
}

/// What a server counts.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counted {
    running: f64,
    work: f64,
}

impl Asking<'_> {
    /// What it counted when it was asked early, and now where that broke off.
    async fn counted_early(
        &mut self,
        early: Option<EarlyPage>,
    ) -> Result<Option<Counted>, Failure> {
        let Some(mut early) = early else {
            return self.counted().await;
        };
        match timeout(PAGE, early.fetch.join_next()).await {
            Ok(Some(Ok(Some((connection, page))))) => {
                self.server.over(connection);
                Ok(read(&page.text(), &self.probe.counters))
            }
            Ok(_) => self.counted().await,
            Err(_) => Ok(None),
        }
    }

    /// What it counts now; nothing where it does not tell in time.
    async fn counted(&mut self) -> Result<Option<Counted>, Failure> {
        let counters = &self.probe.counters;
        let request = HttpRequest::get(counters.path);
        match self.server.http(&request, PAGE).await {
            Ok(page) => Ok(read(&page.text(), counters)),
            Err(NodeError::TimedOut { .. } | NodeError::NoAnswer { .. }) => Ok(None),
            // It was seen to listen a moment ago: what is in the way is on the way.
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at the counters of one that works on something until one of them goes up.
    async fn watch(&mut self, before: Counted) -> Result<Liveness, Failure> {
        loop {
            sleep(PAUSE).await;
            let now = self.counted().await?;
            if now.is_some_and(|now| now.work > before.work) {
                return Ok(Liveness::Alive { slow: None });
            }
            if now.is_some_and(|now| now.running == 0.0) {
                return self.ask(now, Instant::now()).await;
            }
            if Instant::now() >= self.deadline {
                let running = before.running;
                return Ok(Liveness::Failed(format!(
                    "it works on {running} requests, and has produced nothing for {} s",
                    LIMIT.as_secs()
                )));
            }
        }
    }

    /// Has it do something.
    async fn ask(&mut self, before: Option<Counted>, began: Instant) -> Result<Liveness, Failure> {
        let work = &self.probe.work;
        let request = request(self.node, work).await?;
        let deadline = self.deadline;
        match timeout_at(deadline, self.server.http(&request, LIMIT)).await {
            Ok(Ok(answer)) => Ok(match answered_as_it_should(work, &answer) {
                Ok(()) => alive(began.elapsed()),
                Err(unfit) => Liveness::Failed(format!("{}: {}", work.shows, unfit.reason)),
            }),
            Ok(Err(error @ NodeError::NoAnswer { .. })) => {
                Ok(Liveness::Failed(format!("{}: {error}", work.shows)))
            }
            Ok(Err(NodeError::TimedOut { .. })) | Err(_) => self.has_worked_since(before).await,
            Ok(Err(error)) => Err(error.into()),
        }
    }

    /// One that was asked in vain may have had others to work for.
    async fn has_worked_since(&mut self, before: Option<Counted>) -> Result<Liveness, Failure> {
        let now = self.counted().await?;
        let seconds = LIMIT.as_secs();
        if let (Some(before), Some(now)) = (before, now)
            && now.work > before.work
        {
            let slow = format!("it works, and did not come to it within {seconds} s");
            return Ok(Liveness::Alive { slow: Some(slow) });
        }
        let shows = &self.probe.work.shows;
        Ok(Liveness::Failed(format!(
            "{shows}: none within {seconds} s"
        )))
    }
}

fn alive(took: Duration) -> Liveness {
    let slow = (took >= SLOW).then(|| format!("slow: it took {:.1} s", took.as_secs_f64()));
    Liveness::Alive { slow }
}

/// Reads a page of counters; nothing where it counts no work.
fn read(page: &str, counters: &Counters) -> Option<Counted> {
    let page = Page::read(page);
    let working: Vec<f64> = counters
        .working
        .iter()
        .filter_map(|name| page.sum(name))
        .collect();
    (!working.is_empty()).then(|| Counted {
        running: page.sum(counters.running).unwrap_or_default(),
        work: working.iter().sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> Counters {
        Counters {
            path: "/metrics",
            running: "vllm:num_requests_running",
            working: &["vllm:generation_tokens_total", "vllm:prompt_tokens_total"],
        }
    }

    #[test]
    fn a_page_is_read_by_whole_names() {
        let page = "# HELP vllm:generation_tokens_total x\n\
                    vllm:num_requests_running{engine=\"0\",model_name=\"a b\"} 2.0\n\
                    vllm:num_requests_running{engine=\"1\",model_name=\"a b\"} 1.0\n\
                    vllm:generation_tokens_total{engine=\"0\"} 7.0\n\
                    vllm:generation_tokens_total_more{engine=\"0\"} 70.0\n\
                    vllm:prompt_tokens_total 5\n";
        let counted = Counted {
            running: 3.0,
            work: 12.0,
        };
        assert_eq!(read(page, &counters()), Some(counted));
        assert_eq!(read("vllm:num_requests_running 3\n", &counters()), None);
        assert_eq!(read("<html>", &counters()), None);
    }

    #[test]
    fn what_took_long_is_told() {
        assert_eq!(
            alive(Duration::from_millis(20)),
            Liveness::Alive { slow: None }
        );
        let slow = Some("slow: it took 3.2 s".to_owned());
        assert_eq!(alive(Duration::from_millis(3200)), Liveness::Alive { slow });
    }
}
