//! A script that stays for as long as it is held: how a lock is kept.

use std::collections::VecDeque;

use bytes::Bytes;

use super::lines::Lines;
use super::outcome::{ExitStatus, Line, NodeError};
use super::running::{Piece, Running};

/// A script that runs until it is let go. Its standard input stays open until then, and ends it
/// when it closes: on [`Held::release`], on drop, and when the connection or this program goes.
#[derive(Debug)]
pub struct Held {
    running: Running,
    lines: Lines,
    ready: VecDeque<String>,
    complaint: Option<String>,
}

impl Held {
    pub(super) fn new(running: Running, early: &[Piece]) -> Self {
        let mut held = Self {
            running,
            lines: Lines::default(),
            ready: VecDeque::new(),
            complaint: None,
        };
        for piece in early {
            held.keep(piece);
        }
        held
    }

    /// The next line of its standard output, or nothing when it has ended by itself.
    pub async fn next_line(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if let Some(piece) = self.running.next().await {
                self.keep(&piece);
            } else {
                self.ready
                    .extend(self.lines.rest().into_iter().filter_map(|line| match line {
                        Line::Out(text) => Some(text),
                        Line::Err(_) => None,
                    }));
                return self.ready.pop_front();
            }
        }
    }

    /// Writes to it, and returns whether it still listens.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.running.write(Bytes::copy_from_slice(bytes)).await
    }

    /// Writes to it, and returns whether that was taken: it is not waited for one that does not listen.
    pub(super) fn say(&mut self, text: &str) -> bool {
        self.running
            .try_write(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The last line of its standard error, if there was one.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// Lets the script go and waits for its end.
    ///
    /// # Errors
    ///
    /// When the connection went first; what was held is gone with it all the same.
    pub async fn release(mut self) -> Result<ExitStatus, NodeError> {
        self.running.close_input();
        self.running.ended().await
    }

    fn keep(&mut self, piece: &Piece) {
        for line in self.lines.take(piece) {
            match line {
                Line::Out(text) => self.ready.push_back(text),
                Line::Err(text) => self.complaint = Some(text),
            }
        }
    }
}
