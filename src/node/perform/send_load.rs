//! Sending the requests of a measurement from a node: the program there, held for as long as it sends.

use std::pin::pin;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{MissedTickBehavior, interval};

use crate::load::{BEAT, Begin, Order, SILENCE, Said, Sent, Teller, Told};
use crate::node::{Command, ExitStatus, Held, Node, NodeError, quote_path};
use crate::plan::{Count, Failure, Phase, Sender};

/// How much of an order is handed over at once.
const CHUNK: usize = 128 * 1024;

/// Has a program of the node send what is ordered, and brings home what came of it. Where `stop` comes
/// first it ends early, with what there is.
///
/// The program ends when this is dropped, when the connection goes, and when nothing was heard of us
/// for a while.
///
/// # Errors
///
/// With what the program says, where it fails; when it cannot be run; when the connection is lost.
pub async fn send_load(
    node: &Node,
    sender: &Sender,
    order: &Order,
    stop: impl Future<Output = ()>,
    told: Teller,
) -> Result<Sent, Failure> {
    ordered(node, &sender.program, &order.line()?, stop, told).await
}

/// The same with the line of an order.
pub(super) async fn ordered(
    node: &Node,
    program: &str,
    order: &str,
    stop: impl Future<Output = ()>,
    teller: Teller,
) -> Result<Sent, Failure> {
    let (told, begin) = teller.apart();
    let command = Command::script(format!("exec {} send-load", quote_path(program)));
    let mut sending = Sending {
        held: node.hold(&command).await?,
        told,
        last: None,
    };
    for chunk in order.as_bytes().chunks(CHUNK) {
        // Who does not listen has ended, which shows below.
        if !sending.held.write(chunk).await {
            break;
        }
    }
    match sending.until_said(begin, stop).await {
        Some(Said::Sent(sent)) => Ok(*sent),
        Some(Said::Failed(failure)) => Err(from(node, failure)),
        Some(Said::Told(_)) | None => Err(sending.without_a_word(node).await),
    }
}

/// A program that sends.
struct Sending {
    held: Held,
    told: UnboundedSender<Told>,
    /// How far it was when it was last heard of.
    last: Option<Phase>,
}

impl Sending {
    /// Shows life until the last word comes; nothing where it ends without one.
    async fn until_said(&mut self, begin: Begin, stop: impl Future<Output = ()>) -> Option<Said> {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut begin, mut stop) = (pin!(begin), pin!(stop));
        let (mut has_begun, mut is_stopped) = (false, false);
        loop {
            tokio::select! {
                line = self.held.next_line() => match Said::read(&line?) {
                    Some(Said::Told(told)) => self.hear(told),
                    Some(last) => return Some(last),
                    // Whatever a start file of the node has to say.
                    None => {}
                },
                _ = beat.tick() => {
                    self.held.say(Order::beat());
                }
                _ = &mut begin, if !has_begun => {
                    has_begun = true;
                    self.held.write(Order::begin().as_bytes()).await;
                }
                () = &mut stop, if !is_stopped => {
                    is_stopped = true;
                    self.held.write(Order::stop().as_bytes()).await;
                }
            }
        }
    }

    fn hear(&mut self, told: Told) {
        if let Told::Phase(phase) = &told {
            self.last = Some(phase.clone());
        }
        let _ = self.told.send(told);
    }

    /// Why it ended without its last word.
    async fn without_a_word(self, node: &Node) -> Failure {
        let Self { held, last, .. } = self;
        let complaint = held.complaint().map(str::to_owned);
        match held.release().await {
            Ok(status) => ended(node, &status, complaint),
            Err(error) if error.is_connection_lost() => lost(node, last.as_ref(), error),
            Err(error) => error.into(),
        }
    }
}

fn ended(node: &Node, status: &ExitStatus, complaint: Option<String>) -> Failure {
    let name = node.name();
    let message = format!("the load generator on `{name}` ended without a word ({status})");
    let failure = Failure::new(message).logged(complaint.into_iter().collect());
    match status {
        ExitStatus::Exit(126 | 127) => failure.hinted("apply again: it brings the program anew"),
        ExitStatus::Exit(_) | ExitStatus::Signal(_) => failure
            .hinted("run the same again; where it is killed anew, look at that node's memory"),
    }
}

/// The connection went while the node sent: what is known of it, and what becomes of the generator.
fn lost(node: &Node, last: Option<&Phase>, error: NodeError) -> Failure {
    let name = node.name();
    let how_far = last.map(how_far).unwrap_or_default();
    Failure::interrupted(format!(
        "the connection to `{name}` was lost while it sent{how_far}: nothing of this measurement came home"
    ))
    .caused_by(error)
    .hinted(format!(
        "the generator there ends by itself, within {} s at most; run the same again",
        SILENCE.as_secs()
    ))
}

fn how_far(phase: &Phase) -> String {
    match phase.part.count {
        Some(Count::Requests { done, of, .. }) if of > 0 => {
            format!(" ({}, {done} of {of} requests)", phase.doing)
        }
        Some(Count::Requests { done, .. }) => format!(" ({}, {done} requests)", phase.doing),
        _ => format!(" ({})", phase.doing),
    }
}

/// A failure that is told by a node: what it names is seen from there.
fn from(node: &Node, failure: Failure) -> Failure {
    let message = format!("sent from `{}`: {}", node.name(), failure.message);
    Failure { message, ..failure }
}
