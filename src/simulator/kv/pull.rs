//! Fetching blocks from another engine: meet it if need be, read, take the time that it takes, and
//! tell it that its blocks are free.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Connector;
use super::connector::Peer;
use super::params::Remote;
use super::wire::{Line, Question, Reply};
use crate::simulator::profile::{KV_BYTES_PER_TOKEN, KV_REGIONS};

/// What is to be fetched.
#[derive(Debug)]
pub(in crate::simulator) struct Pull {
    pub(in crate::simulator) remote: Remote,
    /// Which tokens of the prompt; nothing when the other is only to be told that nobody wants its
    /// blocks any more.
    pub(in crate::simulator) tokens: Option<Range<usize>>,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::simulator) enum Outcome {
    /// The blocks are here.
    Fetched {
        /// What was in them: up to which token, and its trace there.
        marks: Vec<(usize, u64)>,
        transfer: Transfer,
    },
    /// Nothing was to be fetched, and the other knows.
    Told,
    /// Nothing was to be fetched, and the other could not be told.
    NotTold,
    /// The other is gone, which had been met before.
    Lost,
    /// The engine does not survive it, as in 0.13.0: the last line of a traceback.
    Fatal(String),
}

/// What one transfer took, as NIXL's own telemetry has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulator) struct Transfer {
    pub(in crate::simulator) time: Duration,
    pub(in crate::simulator) post: Duration,
    pub(in crate::simulator) bytes: u64,
    pub(in crate::simulator) descriptors: usize,
}

/// Why nothing came: the connection, or the engine behind it, is not there.
struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Connector {
    /// Fetches blocks, or says that nobody wants them.
    pub(in crate::simulator) async fn fetch(&self, pull: Pull) -> Outcome {
        let Pull { remote, tokens } = pull;
        if tokens.is_some() && remote.blocks.is_empty() {
            // `assert num_external_tokens == 0` in its scheduler.
            return Outcome::Fatal("AssertionError".to_owned());
        }
        let peer = match self.meet(&remote).await {
            Ok(peer) => peer,
            Err(cause) => return Outcome::Fatal(cause),
        };
        let Some(tokens) = tokens else {
            return match self.tell(&peer, remote).await {
                Ok(()) => Outcome::Told,
                Err(Gone) => Outcome::NotTold,
            };
        };
        let Some(places) = places(&remote, &peer, &tokens) else {
            // `assert num_local_blocks <= num_remote_blocks` in its worker.
            return Outcome::Fatal("AssertionError".to_owned());
        };
        let fetched = self.read(&peer, remote, places).await;
        fetched.unwrap_or(Outcome::Lost)
    }

    /// Makes the acquaintance of the engine that has the blocks, unless it was met before. It fails
    /// late, as vLLM's own does, and then the engine's worker looks for what it never learnt.
    async fn meet(&self, remote: &Remote) -> Result<Peer, String> {
        let mut met = self.met.lock().await;
        if let Some(peer) = met.get(&remote.engine) {
            return Ok(peer.clone());
        }
        let started = Instant::now();
        let Ok(Ok(peer)) = timeout(self.figures.patience, self.introduce(remote)).await else {
            sleep_until(started + self.figures.patience).await;
            return Err(format!("KeyError: '{}'", remote.engine));
        };
        sleep(self.figures.handshake).await;
        met.insert(remote.engine.clone(), peer.clone());
        Ok(peer)
    }

    async fn introduce(&self, remote: &Remote) -> Result<Peer, Gone> {
        let mut line = Line::open(&remote.host, remote.port).await?;
        let Reply::Me(them) = line.ask(&Question::Who).await? else {
            return Err(Gone);
        };
        let fits = them.compatibility == self.identity.compatibility;
        let may_be_smaller = them.block_size <= self.identity.block_size;
        if them.engine != remote.engine || (self.enforces_compatibility && !fits) || !may_be_smaller
        {
            return Err(Gone);
        }
        Ok(Peer {
            host: remote.host.clone(),
            port: remote.port,
            block_size: them.block_size,
        })
    }

    async fn read(
        &self,
        peer: &Peer,
        remote: Remote,
        places: Vec<(usize, (u32, usize))>,
    ) -> Result<Outcome, Gone> {
        let started = Instant::now();
        let mut line = Line::open(&peer.host, peer.port).await?;
        let (ends, places): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        let bytes = (places.len() * peer.block_size) as u64 * KV_BYTES_PER_TOKEN;
        let descriptors = places.len() * KV_REGIONS;
        let engine = remote.engine.clone();
        let Reply::Traces(traces) = line.ask(&Question::Read { engine, places }).await? else {
            return Err(Gone);
        };
        sleep_until(self.carried(bytes)).await;
        done(&mut line, remote).await?;
        Ok(Outcome::Fetched {
            marks: ends.into_iter().zip(traces).collect(),
            transfer: Transfer {
                time: started.elapsed(),
                post: self.figures.post,
                bytes,
                descriptors,
            },
        })
    }

    async fn tell(&self, peer: &Peer, remote: Remote) -> Result<(), Gone> {
        let mut line = Line::open(&peer.host, peer.port).await?;
        done(&mut line, remote).await
    }
}

async fn done(line: &mut Line, remote: Remote) -> Result<(), Gone> {
    let Remote {
        engine, request, ..
    } = remote;
    match line.ask(&Question::Done { engine, request }).await? {
        Reply::Noted => Ok(()),
        _ => Err(Gone),
    }
}

/// Which places of the other's blocks hold the ends of what is wanted, each with how many tokens of
/// the prompt end there. As in vLLM it is the last of its blocks that count; nothing when there are
/// too few.
fn places(
    remote: &Remote,
    peer: &Peer,
    tokens: &Range<usize>,
) -> Option<Vec<(usize, (u32, usize))>> {
    let size = peer.block_size;
    let first = tokens.start / size;
    let wanted = tokens.end.div_ceil(size) - first;
    let from = remote.blocks.len().checked_sub(wanted)?;
    let place = |(at, block): (usize, &u32)| {
        let end = ((first + at + 1) * size).min(tokens.end);
        (end, (*block, (end - 1) % size))
    };
    Some(
        remote.blocks[from..]
            .iter()
            .enumerate()
            .map(place)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(blocks: &[u32]) -> Remote {
        Remote {
            engine: "e".to_owned(),
            request: "r".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 1,
            blocks: blocks.to_vec(),
        }
    }

    fn peer(block_size: usize) -> Peer {
        Peer {
            host: "127.0.0.1".to_owned(),
            port: 1,
            block_size,
        }
    }

    #[test]
    fn the_last_blocks_are_read_up_to_the_prompts_end() {
        assert_eq!(
            places(&remote(&[5, 6, 9]), &peer(16), &(0..40)),
            Some(vec![(16, (5, 15)), (32, (6, 15)), (40, (9, 7))])
        );
        assert_eq!(
            places(&remote(&[5, 6, 9]), &peer(16), &(16..40)),
            Some(vec![(32, (6, 15)), (40, (9, 7))])
        );
    }

    #[test]
    fn blocks_that_are_too_few_are_none() {
        assert_eq!(places(&remote(&[5]), &peer(16), &(0..17)), None);
    }
}
