//! What happens, in its order: requests that come, engines that step, blocks that are fetched.
//!
//! Time goes from one happening to the next. Of what happens at one moment, what was arranged first
//! happens first, so that the same play is the same each time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::costs::{HAND_OVER, PROXY, WIRE};
use super::request::{End, Request, Stage};
use super::script::Question;
use super::servers::{RehearsedProxy, RehearsedServer, Servers};
use crate::name::InstanceName;
use crate::proxy::choice::{Chosen, Part};
use crate::results::Record;
use crate::shape::Ended;
use crate::simulator::{Asked, Blocks, Fetch, Ledger, Produced};

/// Engines, what chooses among them, and the requests between.
pub(super) struct Play {
    now: Duration,
    due: BinaryHeap<Reverse<Due>>,
    arranged: u64,
    servers: Vec<Stepping>,
    proxy: Option<RehearsedProxy>,
    requests: HashMap<u64, Request>,
    /// Who read the prompts whose blocks are fetched.
    readers: HashMap<u64, usize>,
    /// Those that wait for a place at somebody who reads prompts for others, and those that wait for any
    /// other, in their order.
    waiting: [VecDeque<u64>; 2],
    ended: VecDeque<(u64, End)>,
    sent: u64,
    /// How long one request may take.
    patience: Duration,
    /// How many were kept for another, and gone before it had fetched them.
    pub(super) expired: usize,
}

/// A server, and whether a step of its engine is under way.
struct Stepping {
    server: RehearsedServer,
    is_busy: bool,
    /// The most of its KV cache that was ever in use.
    fullest: f64,
}

/// What is to happen at a moment.
struct Due {
    at: Duration,
    number: u64,
    what: What,
}

enum What {
    /// A request has come to where an instance is chosen for it.
    Comes(u64),
    /// A request, or a part of it, has come to its server.
    Reaches(u64, usize),
    /// An engine that had nothing to do looks for work.
    Looks(usize),
    /// What an engine keeps for others has been kept for long enough.
    Expires(usize),
    /// A step ends.
    Steps(usize),
    /// Blocks are here, or are not wanted.
    Fetched(usize, Fetch),
    /// What reads prompts has told that one is read.
    IsRead(u64),
    /// Those that wait look for a place.
    Calls,
    /// The last of an answer has passed what chose its instance.
    LetsGo(u64),
    /// The client has all of an answer, or a refusal.
    Ends(u64, End),
    /// A request has waited for a place for as long as it may.
    GivesUp(u64),
    /// The client waits no longer.
    TimesOut(u64),
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Play {
    /// Nothing has happened yet. One request may take so long.
    pub(super) fn of(servers: Servers, patience: Duration) -> Self {
        let Servers { all, proxy } = servers;
        let stepping = all.into_iter().map(|server| Stepping {
            server,
            is_busy: false,
            fullest: 0.0,
        });
        Self {
            now: Duration::ZERO,
            due: BinaryHeap::new(),
            arranged: 0,
            servers: stepping.collect(),
            proxy,
            requests: HashMap::new(),
            readers: HashMap::new(),
            waiting: Default::default(),
            ended: VecDeque::new(),
            sent: 0,
            patience,
            expired: 0,
        }
    }

    /// What time it is.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Sends a request at a moment, which was planned for another.
    pub(super) fn send(&mut self, question: Question, planned: Duration, at: Duration) {
        let number = self.sent;
        self.sent += 1;
        let server = question.server;
        let request = Request::new(question, planned, at);
        self.requests.insert(number, request);
        self.arrange(at + self.patience, What::TimesOut(number));
        if self.proxy.is_some() {
            self.arrange(at + WIRE + PROXY, What::Comes(number));
        } else {
            self.leave_for(server, number, at);
        }
    }

    /// Lets happen what happens up to a moment, and returns what of it is the end of a request.
    pub(super) fn until(&mut self, moment: Duration) -> Option<(Ended, Record)> {
        loop {
            if let Some(ended) = self.take_ended() {
                return Some(ended);
            }
            let is_due = self.due.peek().is_some_and(|Reverse(due)| due.at <= moment);
            if !is_due {
                self.now = self.now.max(moment);
                return None;
            }
            self.go_on();
        }
    }

    /// Lets happen what happens until a request ends; nothing where none is under way.
    pub(super) fn wait(&mut self) -> Option<(Ended, Record)> {
        loop {
            if let Some(ended) = self.take_ended() {
                return Some(ended);
            }
            if self.requests.is_empty() {
                return None;
            }
            self.go_on();
        }
    }

    /// Lets happen all that is left, when no request is under way any more.
    #[cfg(test)]
    pub(super) fn clear_up(&mut self) {
        while !self.due.is_empty() {
            self.go_on();
        }
    }

    /// What each server has spent its time on, where that is written down.
    pub(super) fn ledgers(&self) -> impl Iterator<Item = (&InstanceName, &Ledger)> {
        let servers = self.servers.iter().map(|it| &it.server);
        servers.filter_map(|it| Some((&it.name, it.engine.ledger()?)))
    }

    /// The most of its KV cache that each server ever had in use, and what it has in use now.
    pub(super) fn usage(&self) -> impl Iterator<Item = (&InstanceName, f64, f64)> {
        let servers = self.servers.iter();
        servers.map(|it| (&it.server.name, it.fullest, it.server.engine.kv_usage()))
    }

    fn take_ended(&mut self) -> Option<(Ended, Record)> {
        let (number, end) = self.ended.pop_front()?;
        let request = self.requests.remove(&number)?;
        let names: Vec<_> = self.servers.iter().map(|it| &it.server.name).collect();
        let ended = request.ended(end);
        Some((ended, request.record(end, self.now, &names)))
    }

    fn arrange(&mut self, at: Duration, what: What) {
        let number = self.arranged;
        self.arranged += 1;
        self.due.push(Reverse(Due { at, number, what }));
    }

    fn go_on(&mut self) {
        let Some(Reverse(Due { at, what, .. })) = self.due.pop() else {
            return;
        };
        self.now = self.now.max(at);
        match what {
            What::Comes(number) => self.comes(number),
            What::Reaches(number, place) => self.reaches(number, place),
            What::Looks(place) => self.looks(place),
            What::Expires(place) => self.wake(place),
            What::Steps(place) => self.steps(place),
            What::Fetched(place, fetch) => self.fetched(place, &fetch),
            What::IsRead(number) => self.is_read(number),
            What::Calls => self.call(),
            What::LetsGo(number) => self.lets_go(number),
            What::Ends(number, end) => self.ends(number, end),
            What::GivesUp(number) => self.gives_up(number),
            What::TimesOut(number) => self.times_out(number),
        }
    }

    /// Chooses an instance for a request that has come, unless others wait for one.
    fn comes(&mut self, number: u64) {
        let Some(proxy) = &self.proxy else {
            return;
        };
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        request.first = proxy.first_part(&request.question);
        let line = usize::from(request.first != Part::Prefill);
        let is_free = self.waiting[line].is_empty();
        if is_free && self.place(number, None) {
            return;
        }
        let waiting: usize = self.waiting.iter().map(VecDeque::len).sum();
        let proxy_line = self.proxy.as_ref().map(|it| it.line);
        match proxy_line.filter(|line| waiting < line.most) {
            Some(line) => self.waits(number, line.patience),
            None => self.refuse(number, 429),
        }
    }

    fn waits(&mut self, number: u64, patience: Duration) {
        let line = self.line_of(number);
        self.waiting[line].push_back(number);
        self.arrange(self.now + patience, What::GivesUp(number));
    }

    /// In which line a request waits: the first is for those whose prompt is to be read for another.
    fn line_of(&self, number: u64) -> usize {
        let is_first = self.requests.get(&number).is_some_and(|request| {
            matches!(request.stage, Stage::Coming) && request.first == Part::Prefill
        });
        usize::from(!is_first)
    }

    /// Gives a request its next place, and not this one, if there is any.
    fn place(&mut self, number: u64, besides: Option<usize>) -> bool {
        let (Some(proxy), Some(request)) = (&self.proxy, self.requests.get(&number)) else {
            return true;
        };
        let choices = &proxy.choices;
        let part = match &request.stage {
            Stage::Kept(_) => Part::Decode,
            _ => request.first,
        };
        let Some(chosen) = choices.choose(part, &request.question.body, besides) else {
            return false;
        };
        let is_shared = part == Part::Prefill && choices.can_share_with(chosen.place);
        self.goes_to(number, chosen, is_shared);
        true
    }

    fn goes_to(&mut self, number: u64, chosen: Chosen, is_read_for_another: bool) {
        let place = chosen.place;
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        request.charge = Some(chosen);
        let had_place = request.ahead.take().is_some();
        let mut leaves = self.now;
        if is_read_for_another {
            request.stage = Stage::Read;
            request.reader = Some(place);
        } else {
            request.writer = Some(place);
            if matches!(request.stage, Stage::Kept(_)) {
                leaves += HAND_OVER;
            }
            if request.reader == Some(place) {
                // It finds what it has read in its own cache.
                request.stage = Stage::Coming;
                self.release(number);
            }
        }
        if had_place {
            self.arrange(self.now, What::Calls);
        }
        self.leave_for(place, number, leaves);
    }

    fn leave_for(&mut self, place: usize, number: u64, at: Duration) {
        if let Some(request) = self.requests.get_mut(&number)
            && self.proxy.is_none()
        {
            request.writer = Some(place);
        }
        let serving = self.servers[place].server.serving;
        self.arrange(at + WIRE + serving, What::Reaches(number, place));
    }

    fn reaches(&mut self, number: u64, place: usize) {
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        let mut tokens = request.question.tokens as usize;
        let blocks = match std::mem::replace(&mut request.stage, Stage::Answered) {
            Stage::Read => {
                request.stage = Stage::Read;
                tokens = 1;
                Blocks::ComputedForAnother
            }
            Stage::Kept(kept) => Blocks::Fetched(kept),
            Stage::Coming | Stage::Answered => Blocks::Computed,
        };
        let asked = Asked {
            number,
            prompt: request.question.prompt.clone(),
            salt: request.question.salt.clone(),
            tokens,
            blocks,
        };
        if self.servers[place].server.engine.submit(asked, self.now) {
            self.wake(place);
        } else {
            self.refuse(number, 400);
        }
    }

    /// Has an engine look for work, where it has none.
    fn wake(&mut self, place: usize) {
        if !std::mem::replace(&mut self.servers[place].is_busy, true) {
            self.arrange(self.now, What::Looks(place));
        }
    }

    fn looks(&mut self, place: usize) {
        let now = self.now;
        let stepping = &mut self.servers[place];
        let engine = &mut stepping.server.engine;
        self.expired += engine.expire(now);
        let step = engine.begin(now);
        stepping.fullest = stepping.fullest.max(engine.kv_usage());
        stepping.is_busy = step.is_some();
        let fetches = engine.take_fetches(now);
        let expiry = engine.next_expiry().filter(|_| step.is_none());
        if let Some(step) = step {
            self.arrange(now + step, What::Steps(place));
        }
        for fetch in fetches {
            self.arrange(fetch.at, What::Fetched(place, fetch));
        }
        if let Some(expiry) = expiry {
            self.arrange(expiry, What::Expires(place));
        }
    }

    fn steps(&mut self, place: usize) {
        let produced = self.servers[place].server.engine.complete(self.now);
        for token in produced {
            self.produced(place, token);
        }
        self.looks(place);
    }

    fn produced(&mut self, place: usize, token: Produced) {
        let number = token.number;
        let through_proxy = self.proxy.is_some();
        let interval = self.servers[place].server.engine.stream_interval();
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        if let Some(kept) = token.kept {
            request.found(token.cached);
            request.stage = Stage::Kept(kept);
            self.readers.insert(number, place);
            return self.arrange(self.now + WIRE, What::IsRead(number));
        }
        if request.reader.is_none() {
            request.found(token.cached);
        }
        let way = if through_proxy {
            WIRE + PROXY + WIRE
        } else {
            WIRE
        };
        let at = self.now + way;
        request.token(at, token.is_last, interval);
        if token.is_last {
            self.arrange(self.now + WIRE, What::LetsGo(number));
            self.arrange(at, What::Ends(number, End::Whole));
        }
    }

    fn is_read(&mut self, number: u64) {
        let Some(request) = self.requests.get_mut(&number) else {
            return self.release(number);
        };
        request.ahead = request.charge.take().and_then(Chosen::ahead);
        let reader = request.reader;
        self.call();
        let is_free = self.waiting[1].is_empty();
        if is_free && self.place(number, reader) {
            return;
        }
        // Who was served already is not turned away at a full line.
        let patience = self.proxy.as_ref().map(|it| it.line.patience);
        self.waits(number, patience.unwrap_or_default());
    }

    /// Has nothing be kept any more that nobody will fetch.
    fn release(&mut self, number: u64) {
        if let Some(reader) = self.readers.remove(&number) {
            self.servers[reader].server.engine.was_fetched(number);
            self.wake(reader);
        }
    }

    fn fetched(&mut self, place: usize, fetch: &Fetch) {
        self.release(fetch.number);
        if fetch.is_wanted {
            self.servers[place].server.engine.fetched(fetch);
            self.wake(place);
        }
    }

    fn lets_go(&mut self, number: u64) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.charge = None;
            self.call();
        }
    }

    /// Gives those that wait the places that are free, in their order.
    fn call(&mut self) {
        for line in 0..self.waiting.len() {
            while let Some(first) = self.waiting[line].front().copied() {
                if !self.place(first, None) {
                    break;
                }
                self.waiting[line].pop_front();
            }
        }
    }

    fn gives_up(&mut self, number: u64) {
        for line in &mut self.waiting {
            if let Some(at) = line.iter().position(|it| *it == number) {
                line.remove(at);
                return self.refuse(number, 429);
            }
        }
    }

    fn refuse(&mut self, number: u64, status: u16) {
        self.release(number);
        if let Some(request) = self.requests.get_mut(&number) {
            (request.charge, request.ahead) = (None, None);
            self.arrange(self.now + WIRE, What::Ends(number, End::Refused(status)));
            self.call();
        }
    }

    fn ends(&mut self, number: u64, end: End) {
        if self.requests.contains_key(&number) {
            self.ended.push_back((number, end));
        }
    }

    fn times_out(&mut self, number: u64) {
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        (request.charge, request.ahead) = (None, None);
        let (reader, writer) = (request.reader, request.writer);
        let is_unasked = matches!(request.stage, Stage::Kept(_));
        for line in &mut self.waiting {
            line.retain(|it| *it != number);
        }
        for place in reader.into_iter().chain(writer) {
            self.servers[place].server.engine.abort(number);
            self.wake(place);
        }
        if is_unasked {
            self.release(number);
        }
        self.ended.push_back((number, End::TimedOut));
        self.call();
    }
}
