//! A session that is opened before it is wanted: what runs next on a node waits a round trip less.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::Channel;
use russh::client::Msg;
use tokio::time::Instant;

use super::link::Link;

/// How long one may wait. Some servers close what nobody uses (`ChannelTimeout`).
const AGE: Duration = Duration::from_secs(30);

/// The session that waits, if one does.
#[derive(Default)]
pub(super) struct Spare(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many scripts there were. Whoever runs one alone, as a plan does, needs none.
    scripts: u32,
    /// Whether one is being opened.
    is_coming: bool,
    waiting: Option<(Channel<Msg>, Instant)>,
}

impl Spare {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the session that waits. One that has waited for too long is closed.
    pub(super) fn take(&self) -> Option<Channel<Msg>> {
        let (channel, since) = self.state().waiting.take()?;
        if since.elapsed() < AGE {
            return Some(channel);
        }
        tokio::spawn(async move { channel.close().await });
        None
    }
}

/// Opens a session for the next script, unless one waits. A server that opens no more is not asked
/// again: then each is opened when it is wanted.
pub(super) fn prepare(link: &Arc<Link>) {
    let mut state = link.spare.state();
    state.scripts += 1;
    if state.scripts == 1 || state.is_coming || state.waiting.is_some() {
        return;
    }
    state.is_coming = true;
    drop(state);
    let link = Arc::clone(link);
    tokio::spawn(async move {
        let opened = link.handle.channel_open_session().await;
        let mut state = link.spare.state();
        if let Ok(channel) = opened {
            state.waiting = Some((channel, Instant::now()));
            state.is_coming = false;
        }
    });
}
