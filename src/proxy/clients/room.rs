//! How many clients may be connected, and who has to go for another.
//!
//! A connection costs a descriptor, whether or not anything is asked on it. Without a bound, whoever
//! opens many of them leaves none for instances, probes, the control socket and `/health`. Neither must
//! who asks for much at once over one connection of HTTP/2: each request takes one for its instance.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::standing::{Standing, Told};
use super::stream::Late;

/// What the proxy opens for itself, for probes and for whoever controls it.
const OWN: u64 = 24;

/// So many more are let in when all that may stay are being answered: they get a page of the proxy's
/// own, or a refusal in words.
const SPARE: usize = 8;

/// When all are busy, it is looked so often for one that is not any more.
const AGAIN: Duration = Duration::from_millis(50);

/// The clients that are connected.
#[derive(Debug)]
pub(in crate::proxy) struct Clients {
    most: usize,
    /// How many requests may be answered at once. Each client has a seat for one.
    seats: usize,
    /// How many are answered beside another one of their client.
    beside: AtomicUsize,
    table: Mutex<Table>,
    left: Notify,
    cut: Cut,
    are_parting: AtomicBool,
}

/// Whose connection was ended, counted by why.
#[derive(Debug, Default)]
struct Cut {
    evicted: AtomicU64,
    idle: AtomicU64,
    head: AtomicU64,
    taking: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    came: u64,
    connected: BTreeMap<u64, Arc<Standing>>,
}

impl Clients {
    /// So many clients at most, or as many as may have a request in flight each, with this limit on open
    /// files.
    pub(in crate::proxy) fn within(files: u64, most: Option<usize>) -> Self {
        let shared = files.saturating_sub(OWN + SPARE as u64);
        let shared = usize::try_from(shared).unwrap_or(usize::MAX);
        let most = most.unwrap_or((shared / 2).max(1));
        Self {
            most,
            seats: shared.saturating_sub(most).max(most),
            beside: AtomicUsize::new(0),
            table: Mutex::default(),
            left: Notify::new(),
            cut: Cut::default(),
            are_parting: AtomicBool::new(false),
        }
    }

    /// Waits until another may be let in.
    pub(in crate::proxy) async fn room(&self) {
        loop {
            {
                let table = self.table();
                if table.connected.len() < self.most.saturating_add(SPARE) {
                    return;
                }
                self.send_off(&table, 1);
            }
            let _ = tokio::time::timeout(AGAIN, self.left.notified()).await;
        }
    }

    /// Lets another in. Where there are too many then, those go that were idle for the longest.
    pub(in crate::proxy) fn welcome(self: &Arc<Self>) -> Guest {
        let mut table = self.table();
        let seats = self
            .seats
            .saturating_sub(self.beside.load(Ordering::Acquire));
        let excess = table.staying_beyond(self.most.min(seats).saturating_sub(1));
        // Many at once, so that who opens thousands does not have thousands looked through for each.
        let is_spare = excess > 0 && self.send_off(&table, excess.max(self.most / 64)) < excess;
        table.came += 1;
        let number = table.came;
        let standing = Arc::<Standing>::default();
        table.connected.insert(number, Arc::clone(&standing));
        Guest {
            clients: Arc::clone(self),
            number,
            standing,
            is_spare,
        }
    }

    /// Lets a client ask one thing more while it is being answered, if there is room for that.
    pub(in crate::proxy) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let seat = Seat(Arc::clone(self));
        let beside = self.beside.fetch_add(1, Ordering::AcqRel) + 1;
        let table = self.table();
        let excess = (table.connected.len() + beside).saturating_sub(self.seats);
        if excess > 0 {
            // There will be, where others only keep theirs.
            self.send_off(&table, excess);
            return None;
        }
        Some(seat)
    }

    /// Has each end with its next answer: another proxy serves whoever comes anew.
    pub(in crate::proxy) fn part(&self) {
        self.are_parting.store(true, Ordering::Release);
    }

    /// Whether each is to end with its next answer.
    pub(in crate::proxy) fn are_parting(&self) -> bool {
        self.are_parting.load(Ordering::Acquire)
    }

    /// Has all of them end: the proxy stops.
    pub(in crate::proxy) fn stop(&self) {
        let table = self.table();
        table.connected.values().for_each(|it| it.tell(Told::Stop));
    }

    /// How many are connected.
    pub(in crate::proxy) fn connected(&self) -> u64 {
        self.table().connected.len() as u64
    }

    /// How many connections were ended here, by why.
    pub(in crate::proxy) fn cut(&self) -> Vec<(&'static str, u64)> {
        let Cut {
            evicted,
            idle,
            head,
            taking,
        } = &self.cut;
        let counts = [
            ("evicted", evicted),
            ("idle", idle),
            ("slow_head", head),
            ("stalled", taking),
        ];
        let counts = counts.map(|(why, count)| (why, count.load(Ordering::Relaxed)));
        counts.into()
    }

    /// Notes how a connection ended that was given up here.
    pub(in crate::proxy) fn ended(&self, late: Late) {
        let count = match late {
            Late::Request => &self.cut.idle,
            Late::Head => &self.cut.head,
            Late::Taking => &self.cut.taking,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn send_off(&self, table: &Table, many: usize) -> usize {
        let sent = table.send_off(many);
        self.cut.evicted.fetch_add(sent as u64, Ordering::Relaxed);
        sent
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// How many there are beyond so many, those aside that were told to go.
    fn staying_beyond(&self, most: usize) -> usize {
        if self.connected.len() <= most {
            return 0;
        }
        let staying = self.connected.values().filter(|it| it.heard().is_none());
        staying.count().saturating_sub(most)
    }

    /// Tells so many to go that are idle, the longest first, and returns how many there were.
    fn send_off(&self, many: usize) -> usize {
        let idle = self.connected.values();
        let mut idle: Vec<_> = idle
            .filter(|it| it.is_idle() && it.heard().is_none())
            .collect();
        idle.sort_unstable_by_key(|it| it.free_since());
        idle.truncate(many);
        for it in &idle {
            it.tell(Told::Leave);
        }
        idle.len()
    }
}

/// One client, for as long as it is connected.
#[derive(Debug)]
pub(in crate::proxy) struct Guest {
    pub(in crate::proxy) clients: Arc<Clients>,
    number: u64,
    pub(in crate::proxy) standing: Arc<Standing>,
    /// Whether there is no room for it: all the others are being answered.
    pub(in crate::proxy) is_spare: bool,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.clients.table().connected.remove(&self.number);
        self.clients.left.notify_one();
    }
}

/// The room for one request beside others of its client, given back when it is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Seat(Arc<Clients>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.beside.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many clients, and seats for as many requests.
    fn few(clients: usize) -> Arc<Clients> {
        let files = OWN + SPARE as u64 + 2 * clients as u64;
        Arc::new(Clients::within(files, None))
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_idle_for_the_longest_goes() {
        let clients = few(3);
        let mut guests = Vec::new();
        for _ in 0..3 {
            guests.push(clients.welcome());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The first has been of use since.
        drop(guests[0].standing.ask());
        let another = clients.welcome();
        let leave: Vec<_> = guests
            .iter()
            .map(|it| it.standing.heard().is_some())
            .collect();
        assert_eq!(leave, [false, true, false]);
        assert!(!another.is_spare);
    }

    #[tokio::test]
    async fn who_comes_when_all_are_busy_is_spare_and_the_last_of_those_waits() {
        let clients = few(1);
        let busy = clients.welcome();
        let asked = busy.standing.ask();
        let mut spare: Vec<_> = (0..SPARE).map(|_| clients.welcome()).collect();
        assert!(spare[0].is_spare);
        let asked_too: Vec<_> = spare.iter().map(|it| it.standing.ask()).collect();
        let full = tokio::time::timeout(AGAIN * 3, clients.room()).await;
        assert!(full.is_err());
        drop(asked_too);
        drop(spare.pop());
        clients.room().await;
        drop((asked, busy));
    }

    #[test]
    fn each_client_may_have_an_instance() {
        for (files, declared, most, seats) in [
            (64, None, 16, 16),
            (20_000, None, 9_984, 9_984),
            (20, None, 1, 1),
            (20_000, Some(1), 1, 19_967),
            (64, Some(30), 30, 30),
        ] {
            let clients = Clients::within(files, declared);
            assert_eq!((clients.most, clients.seats), (most, seats), "{files}");
        }
    }

    #[test]
    fn what_is_asked_beside_other_things_takes_the_seat_of_a_client() {
        let clients = few(3);
        let busy = clients.welcome();
        let _asked = busy.standing.ask();
        let idle = clients.welcome();
        let beside = clients.seat();
        assert!(beside.is_some());
        assert!(clients.seat().is_none());
        assert!(idle.standing.heard().is_some() && busy.standing.heard().is_none());
        drop(idle);
        let another = clients.seat();
        assert!(another.is_some());
        assert!(clients.welcome().is_spare);
        drop((beside, another));
        assert!(!clients.welcome().is_spare);
    }
}
