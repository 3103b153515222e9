//! The world as it is: steps performed on the nodes, measurements made from this machine.

use std::sync::{Mutex, PoisonError};

use super::execute::{Say, World};
use crate::load::{self, Outcome};
use crate::node::{self, Command, Fleet, Node, quote_path};
use crate::plan::{Effect, Failure, Step};
use crate::proxy::control::{Reply, Request};

/// The nodes of a topology, and what was measured of them.
#[derive(Debug)]
pub struct Live {
    fleet: Fleet,
    measured: Mutex<Vec<Outcome>>,
}

impl Live {
    /// Returns the world of these nodes.
    pub fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            measured: Mutex::default(),
        }
    }

    /// Returns what was measured since this was last asked, in the order in which it was.
    pub fn take_measured(&self) -> Vec<Outcome> {
        std::mem::take(&mut self.measured.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the node on which a step is performed.
    fn node(&self, step: &Step) -> Result<&Node, Failure> {
        let address = match &step.effect {
            Effect::Tell { to, .. } => to,
            _ => &step.address,
        };
        let Some(name) = &address.node else {
            return Err(Failure::new("this is a bug in replica: the step has no node"));
        };
        self.fleet.node(name).map_err(Failure::new)
    }

    async fn measure(&self, job: &load::Job, say: &Say) -> Result<String, Failure> {
        let outcome = load::measure(job, |progress| {
            let (phase, detail) = in_words(progress);
            say.phase(phase, detail);
        })
        .await?;
        let said = match (outcome.valid, load::Headline::of(&outcome.result).output_tps) {
            (true, Some(tps)) => format!("{tps:.1} tok/s"),
            (true, None) => "measured".to_owned(),
            (false, _) => "the result cannot be believed".to_owned(),
        };
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
        Ok(said)
    }
}

impl World for Live {
    async fn perform(&self, step: &Step, say: &Say) -> Result<String, Failure> {
        if let Effect::Measure(job) = &step.effect {
            return self.measure(job, say).await;
        }
        let node = self.node(step)?;
        let tell = |phase: &str, detail: &str| say.phase(phase, detail);
        match &step.effect {
            Effect::Upload { source, target, sha256 } => {
                tell("uploading", "");
                let sent = node.upload(source, target, sha256).await;
                sent.map_err(|error| Failure::new(error.to_string()))?;
                Ok(String::new())
            }
            Effect::Remove { paths } => remove(node, paths).await,
            Effect::Start(launch) => {
                tell("starting", "");
                let started = node::start(node, launch).await?;
                Ok(format!("pid {}", started.pid))
            }
            Effect::Stop(stop) => node::stop(node, stop, tell).await.map(|stopped| stopped.to_string()),
            Effect::Await(ready) => node::ready(node, ready, tell).await.map(|ready| ready.to_string()),
            Effect::Tell { program, folder, request, timeout, .. } => {
                let reply = node::tell(node, program, folder, request, *timeout, tell).await?;
                told(request, &reply)
            }
            Effect::Measure(_) => Ok(String::new()),
        }
    }
}

fn in_words(progress: load::Progress) -> (&'static str, String) {
    let load::Progress { done, of, failed, .. } = progress;
    let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    match progress.phase {
        load::Phase::Verifying => ("verifying", String::new()),
        load::Phase::Warming => ("warming", format!("{done}/{of}{failures}")),
        load::Phase::Measuring => ("measuring", format!("{done}/{of}{failures}")),
        load::Phase::Summarising => ("summarising", String::new()),
    }
}

/// Removes files of ours, and the folders above them that are empty then.
async fn remove(node: &Node, paths: &[String]) -> Result<String, Failure> {
    // A pattern in the last part of a path is the shell's to expand.
    let path = |path: &String| match path.split_once('*') {
        Some((before, after)) => format!("{}*{after}", quote_path(before)),
        None => quote_path(path),
    };
    let paths: Vec<_> = paths.iter().map(path).collect();
    let script = format!(
        "for path in {}; do\n  rm -rf -- \"$path\" || exit 1\n  folder=${{path%/*}}\n\
         \x20 while [ \"${{folder##*/}}\" != replica ] && rmdir \"$folder\" 2>/dev/null; do folder=${{folder%/*}}; done\n\
         done\nexit 0\n",
        paths.join(" ")
    );
    let output = node.run(&Command::script(script)).await;
    let output = output.map_err(|error| Failure::new(error.to_string()))?;
    if output.success() {
        Ok(String::new())
    } else {
        Err(Failure::new(format!("its files cannot be removed: {}", output.complaint())))
    }
}

fn told(request: &Request, reply: &Reply) -> Result<String, Failure> {
    match (reply, request) {
        (Reply::Done(_), Request::Drain { backend }) => Ok(format!("{backend} drained")),
        (Reply::Done(_), Request::Admit(backend)) => Ok(format!("{} serves", backend.name)),
        (Reply::Done(status), _) => {
            let generation = status.config.as_ref().map_or(0, |config| config.generation);
            Ok(format!("serves configuration {generation}"))
        }
        (Reply::Refused { message }, _) => {
            Err(Failure::new(format!("the proxy refused: {message}")))
        }
        (Reply::Waiting { what, .. }, _) => {
            Err(Failure::new(format!("the proxy stopped answering while {what}")))
        }
    }
}
