//! How much of what was read before is found again in conversations, against who knows everything.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::engine::{Ask, Cluster, text};
use super::*;

const CHATS: usize = 48;
const TURNS: usize = 8;

/// Conversations that go on after each answer, some time later.
struct Chats {
    messages: Vec<Vec<Value>>,
    /// When each goes on, in steps; nothing while it waits for an answer, or when it is over.
    due: Vec<Option<usize>>,
}

impl Chats {
    fn new(rng: &mut fastrand::Rng) -> Self {
        let system = json!({"role": "system", "content": text("system", 2000)});
        Self {
            messages: vec![vec![system]; CHATS],
            due: (0..CHATS).map(|_| Some(rng.usize(0..800))).collect(),
        }
    }

    /// What a conversation asks next.
    fn ask(&mut self, chat: usize) -> Ask {
        let messages = &mut self.messages[chat];
        let asked = text(&format!("{chat} asks {}", messages.len()), 1500);
        messages.push(json!({"role": "user", "content": asked}));
        Ask {
            client: chat,
            session: format!("chat-{chat}"),
            body: json!({"model": "m", "messages": messages}).to_string(),
            answer: 100.0,
        }
    }

    fn answered(&mut self, chat: usize, at: usize) {
        let messages = &mut self.messages[chat];
        let said = text(&format!("{chat} hears {}", messages.len()), 400);
        messages.push(json!({"role": "assistant", "content": said}));
        self.due[chat] = (messages.len() < 2 * TURNS).then_some(at);
    }
}

/// The part of all blocks that was found in a cache, and the part that was sent before to anybody.
async fn rates(policy: &PolicySpec) -> (f64, f64) {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut chats = Chats::new(&mut rng);
    // Together they have room for all conversations, and none for half of them.
    let mut cluster = Cluster::of(4, policy, 1200);
    let (mut blocks, mut reused) = (0, 0);
    let mut known = HashSet::new();
    let mut found = 0;
    for step in 0..20_000 {
        for chat in 0..CHATS {
            if chats.due[chat].is_some_and(|due| due <= step) {
                chats.due[chat] = None;
                let ask = chats.ask(chat);
                for block in cluster.blocks(&ask) {
                    found += usize::from(!known.insert(block));
                }
                cluster.send(&ask);
            }
        }
        for done in cluster.step().await {
            blocks += done.blocks;
            reused += done.reused;
            chats.answered(done.client, step + rng.usize(50..600));
        }
    }
    let part = |some: usize| some as f64 / blocks as f64;
    (part(reused), part(found))
}

#[tokio::test(start_paused = true)]
async fn conversations_find_nearly_all_that_can_be_found() {
    let (prefix, all) = rates(&PolicySpec::Prefix(PrefixSettings::default())).await;
    let (session, _) = rates(&PolicySpec::Session(SessionSettings::default())).await;
    let (by_load, _) = rates(&PolicySpec::LeastConnections).await;
    assert!(prefix >= 0.95 * all, "{prefix} of {all}");
    assert!(session >= 0.8 * all, "{session} of {all}");
    assert!(by_load < 0.8 * all, "{by_load} of {all}: nothing is shown");
}
