//! Requests that two servers share: what is asked, and exactly what comes of it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::traffic::KEY;

/// How long an answer may take, or a piece of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A prompt of so many tokens; each `nth` is another one from its first token on.
pub(super) fn prompt(nth: u32, length: u32) -> Vec<u32> {
    (0..length)
        .map(|at| 10 + (nth * 7 + at * at) % 90)
        .collect()
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Question {
    path: &'static str,
    body: Value,
}

impl Question {
    /// Asks for so many tokens after these.
    pub(super) fn completion(prompt: &[u32], tokens: u32) -> Self {
        Self {
            path: "/v1/completions",
            body: json!({"model": "demo", "prompt": prompt, "max_tokens": tokens,
                         "temperature": 0, "ignore_eos": true}),
        }
    }

    /// Asks for so many tokens in answer to this.
    pub(super) fn chat(said: &str, tokens: u32) -> Self {
        Self {
            path: "/v1/chat/completions",
            body: json!({"model": "demo", "messages": [{"role": "user", "content": said}],
                         "max_completion_tokens": tokens, "temperature": 0, "ignore_eos": true}),
        }
    }

    /// The same as a stream that ends with its usage.
    pub(super) fn streamed(&self) -> Self {
        let mut question = self.clone();
        question.body["stream"] = json!(true);
        question.body["stream_options"] = json!({"include_usage": true});
        question
    }

    /// Sends it.
    pub(super) fn put(&self, authority: &str) -> Asked {
        let mut socket = TcpStream::connect(authority).expect("it listens");
        let patience = Some(PATIENCE);
        socket.set_read_timeout(patience).expect("it is a socket");
        let mut text = format!("POST {} HTTP/1.1\r\nhost: {authority}\r\n", self.path);
        let body = self.body.to_string();
        let _ = write!(
            text,
            "content-type: application/json\r\nauthorization: Bearer {KEY}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(text.as_bytes()).expect("it reads");
        Asked {
            socket,
            came: Vec::new(),
        }
    }

    /// Sends it, and waits for all of its answer.
    pub(super) fn ask(&self, authority: &str) -> Answer {
        self.put(authority).ends()
    }
}

/// A request that is under way.
pub(super) struct Asked {
    socket: TcpStream,
    came: Vec<u8>,
}

impl Asked {
    /// Waits until so many events of its answer came.
    pub(super) fn has_events(&mut self, count: usize) {
        let mut piece = [0; 4096];
        while String::from_utf8_lossy(&self.came)
            .matches("data: ")
            .count()
            < count
        {
            let read = self.socket.read(&mut piece).expect("it streams");
            assert_ne!(read, 0, "it ended: {}", String::from_utf8_lossy(&self.came));
            self.came.extend_from_slice(&piece[..read]);
        }
    }

    /// Waits for the end of the connection, whichever it is.
    pub(super) fn ends(mut self) -> Answer {
        // A reset is an end as well, and what came before it counts.
        let _ = self.socket.read_to_end(&mut self.came);
        Answer::of(&String::from_utf8_lossy(&self.came))
    }
}

/// What came in answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: Vec<(String, String)>,
    pub(super) body: String,
    /// Whether it says itself that it is at its end.
    pub(super) is_whole: bool,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let head: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self {
            status: status.and_then(|it| it.parse().ok()).unwrap_or_default(),
            head,
            body: body.to_owned(),
            is_whole: false,
        };
        if let Some(length) = answer.header("content-length") {
            answer.is_whole = length.parse() == Ok(body.len());
        } else {
            (answer.body, answer.is_whole) = joined(body);
        }
        answer
    }

    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.head.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Its status, who has read the prompt, and who has answered.
    pub(super) fn told(&self) -> (u16, Option<&str>, Option<&str>) {
        let by = |name| self.header(name);
        (
            self.status,
            by("x-replica-prefill"),
            by("x-replica-instance"),
        )
    }

    /// Its status, and the kind of the error that it tells.
    pub(super) fn refused(&self) -> (u16, String) {
        let error = self.json()["error"]["type"].clone();
        (self.status, error.as_str().unwrap_or_default().to_owned())
    }

    /// What it holds: a document, or the events of a stream.
    fn documents(&self) -> Vec<Value> {
        let lines = self.body.lines().filter_map(|it| it.strip_prefix("data: "));
        let events: Vec<_> = lines
            .filter_map(|it| serde_json::from_str(it).ok())
            .collect();
        if events.is_empty() {
            return vec![self.json()];
        }
        events
    }

    /// All that was said, and how that was counted.
    pub(super) fn said(&self) -> Said {
        let mut said = Said::default();
        for document in self.documents() {
            let choice = &document["choices"][0];
            let places = [
                &choice["text"],
                &choice["message"]["content"],
                &choice["delta"]["content"],
            ];
            said.text.extend(places.iter().filter_map(|it| it.as_str()));
            if let Some(usage) = document["usage"].as_object() {
                let count = |name: &str| usage[name].as_u64();
                said.read = count("prompt_tokens");
                said.written = count("completion_tokens");
            }
        }
        said
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// What an answer says, streamed or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    /// How many tokens its prompt had.
    pub(super) read: Option<u64>,
    /// How many tokens it has itself.
    pub(super) written: Option<u64>,
}

/// Takes a body out of its chunks, and says whether its last came.
fn joined(mut chunks: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = rest.get(..size) else { break };
        body.push_str(chunk);
        chunks = rest.get(size + 2..).unwrap_or("");
    }
    (body, false)
}

/// The sum of a count on a server's own page.
pub(super) fn counted(authority: &str, name: &str) -> f64 {
    let mut socket = TcpStream::connect(authority).expect("it listens");
    write!(
        socket,
        "GET /metrics HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut page = String::new();
    socket.read_to_string(&mut page).expect("it answers");
    let lines = page.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{', '}']))
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Asks one server alone, and then both through the proxy, which is to answer in the same words:
/// completions and chats, streamed and not, as many at a time as there are lengths of prompts. Returns how
/// many tokens of completions were read by one for the other.
pub(super) fn answers_as_one(proxy: &str, alone: &str, lengths: &[u32]) -> u64 {
    let mut read = 0;
    for round in 0..2 {
        let numbered = || (round * 40..).zip(lengths);
        let completions =
            numbered().map(|(nth, &length)| Question::completion(&prompt(nth, length), 20));
        let chats = numbered().map(|(nth, &length)| {
            let words = prompt(nth, length / 4);
            let words = words
                .iter()
                .map(|word| ["what", "is", "a", "prefill", "proxy"][*word as usize % 5]);
            let said = words.collect::<Vec<_>>().join(" ");
            Question::chat(&format!("{nth} {said}"), 20)
        });
        let is_streamed = round == 1;
        read += all_at_once(proxy, alone, completions.collect(), is_streamed);
        all_at_once(proxy, alone, chats.collect(), is_streamed);
    }
    read
}

/// Returns how many tokens were read.
fn all_at_once(proxy: &str, alone: &str, mut questions: Vec<Question>, is_streamed: bool) -> u64 {
    if is_streamed {
        questions = questions.iter().map(Question::streamed).collect();
    }
    let own: Vec<_> = questions.iter().map(|it| it.ask(alone).said()).collect();
    let asked = thread::scope(|scope| {
        let ask = |question: &'_ Question| {
            let question = question.clone();
            scope.spawn(move || question.ask(proxy))
        };
        let asked: Vec<_> = questions.iter().map(ask).collect();
        let answers = asked
            .into_iter()
            .map(|it| it.join().expect("it is answered"));
        answers.collect::<Vec<_>>()
    });
    for (answer, own) in asked.iter().zip(&own) {
        assert_eq!(answer.told(), (200, Some("a"), Some("b")), "{answer:?}");
        assert!(answer.is_whole, "{answer:?}");
        assert_eq!(&answer.said(), own, "{answer:?}");
        assert_eq!(own.written, Some(20), "{own:?}");
    }
    own.iter().filter_map(|it| it.read).sum()
}
