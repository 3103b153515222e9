//! What runs on a node: ours by session, everybody's listeners, and vLLM that is not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::mark::Mark;
use super::one::Process;
use super::unmanaged::{Ownership, UnmanagedProcess, UnmanagedServer, is_vllm};
use crate::plan::Address;
use crate::resource::facts::{Fact, Facts};

const ID: &str = "processes";

/// The one fact that everything here is read from.
pub fn fact() -> Fact {
    Fact::new(ID, include_str!("look.sh"))
}

/// Everything that was seen running on one node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProcessTable {
    /// The boot that all pids belong to.
    pub boot_id: String,
    /// Sessions in which a process carries a mark: ours, of whichever topology.
    pub sessions: Vec<Session>,
    /// Every listening TCP socket.
    pub listeners: Vec<Listener>,
    /// Processes of vLLM that carry no mark, in the order of pids.
    pub unmanaged: Vec<UnmanagedProcess>,
    /// Where the sessions of each thing stand, by the beginning of their marks.
    places: BTreeMap<String, Vec<usize>>,
    /// Seconds since the boot.
    uptime: f64,
    /// Clock ticks in a second.
    ticks: f64,
}

/// A session of ours: what was started with one mark, and everything that it started.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Its id: the pid of the process that led it.
    pub id: u32,
    /// Its mark.
    pub mark: Mark,
    /// Its specification, as it was started.
    pub spec: Value,
    /// What lives of it, in the order of pids.
    pub processes: Vec<Process>,
}

impl Session {
    /// The process that leads it. Without one, the rest are orphans.
    pub fn leader(&self) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == self.id)
    }

    /// The port that it was started on.
    pub fn port(&self) -> Option<u16> {
        let port = self.spec.pointer("/listen/port")?.as_u64()?;
        u16::try_from(port).ok()
    }
}

/// One listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its port.
    pub port: u16,
    /// The kernel's number of the socket.
    pub inode: u64,
    /// The user that opened it, as a number.
    pub uid: u32,
    /// The sessions and processes that hold it; empty where we may not look.
    pub owners: Vec<Owner>,
}

/// A process that holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The session that it belongs to.
    pub session: u32,
    /// The process.
    pub process: Process,
}

impl ProcessTable {
    /// Reads the answer. What cannot be read is left out: a half-written line is nobody's.
    pub fn read(facts: &Facts) -> Arc<Self> {
        facts.parsed(Self::read_anew)
    }

    fn read_anew(facts: &Facts) -> Self {
        let mut reader = Reader::default();
        for line in facts.get(ID).lines() {
            reader.line(line);
        }
        reader.finish()
    }

    /// The sessions that were started as this thing, newest generation first.
    pub fn of(&self, topology: &str, address: &Address) -> Vec<&Session> {
        let places = self.places.get(&Mark::prefix(topology, address));
        let places = places.into_iter().flatten();
        let mut found: Vec<_> = places.map(|place| &self.sessions[*place]).collect();
        found.sort_by_key(|session| std::cmp::Reverse((session.mark.generation, session.id)));
        found
    }

    /// The ports that a thing was started on, as long as anything of it lives; where it
    /// does not say, those that it listens on.
    pub fn ports_of(&self, topology: &str, address: &Address) -> Vec<u16> {
        let mut ports = BTreeSet::new();
        for session in self.of(topology, address) {
            let listens = |l: &&Listener| l.owners.iter().any(|owner| owner.session == session.id);
            match session.port() {
                Some(port) => ports.extend([port]),
                None => ports.extend(self.listeners.iter().filter(listens).map(|l| l.port)),
            }
        }
        ports.into_iter().collect()
    }

    /// The sockets that listen on a port.
    pub fn listeners_on(&self, port: u16) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(move |l| l.port == port)
    }

    /// Whether a process of a session listens on a port.
    pub fn listens(&self, session: &Session, port: u16) -> bool {
        let is_its = |owner: &Owner| owner.session == session.id;
        self.listeners_on(port)
            .any(|listener| listener.owners.iter().any(is_its))
    }

    /// Whether nobody but a session listens on a port: with somebody else, who answers is chance.
    pub fn listens_alone(&self, session: &Session, port: u16) -> bool {
        let is_its = |owner: &Owner| owner.session == session.id;
        let mut listeners = self.listeners_on(port).peekable();
        listeners.peek().is_some() && listeners.all(|it| it.owners.iter().any(is_its))
    }

    /// The vLLM servers of this user that are not ours.
    pub fn unmanaged_servers(&self) -> Vec<UnmanagedServer> {
        UnmanagedServer::gather(&self.unmanaged)
    }

    /// The ports that a server listens on which is not ours.
    pub fn ports_of_stale(&self, server: &UnmanagedServer) -> Vec<u16> {
        let is_its = |owner: &Owner| server.processes().any(|it| it.pid == owner.process.pid);
        let listens = |listener: &&Listener| listener.owners.iter().any(is_its);
        let ports: BTreeSet<_> = self
            .listeners
            .iter()
            .filter(listens)
            .map(|l| l.port)
            .collect();
        ports.into_iter().collect()
    }

    /// What holds a port that is neither one of these sessions nor one of these servers, in
    /// words, if anything does.
    pub fn holder_of(
        &self,
        port: u16,
        except: &[&Session],
        ended: &[UnmanagedServer],
    ) -> Option<String> {
        let is_excepted = |owner: &Owner| {
            let mut ended = ended.iter().flat_map(UnmanagedServer::processes);
            except.iter().any(|session| session.id == owner.session)
                || ended.any(|process| process.pid == owner.process.pid)
        };
        for listener in self.listeners_on(port) {
            let Some(owner) = listener.owners.first() else {
                return Some(format!(
                    "a process of another user (uid {}), which cannot be seen from here",
                    listener.uid
                ));
            };
            if listener.owners.iter().any(is_excepted) {
                continue;
            }
            if let Some(session) = self.sessions.iter().find(|s| s.id == owner.session) {
                return Some(format!(
                    "{} of topology `{}` (pid {})",
                    session.mark.address_in_words(),
                    session.mark.topology,
                    owner.process.pid
                ));
            }
            return Some(self.describe(&owner.process));
        }
        None
    }

    /// Describes a process for a reader: pid, user, age, command.
    pub fn describe(&self, process: &Process) -> String {
        let age = self
            .age(process)
            .map_or_else(String::new, |s| format!(", up {}", age(s)));
        let user = if process.user.is_empty() {
            "?"
        } else {
            &process.user
        };
        let command = if process.command.is_empty() {
            &process.name
        } else {
            &process.command
        };
        format!(
            "pid {} of user {user}{age}: {}",
            process.pid,
            shorten(command, 80)
        )
    }

    /// How long a process has been running, in seconds.
    pub fn age(&self, process: &Process) -> Option<f64> {
        (self.ticks > 0.0 && process.start > 0)
            .then(|| (self.uptime - process.start as f64 / self.ticks).max(0.0))
    }
}

fn age(seconds: f64) -> String {
    let s = seconds as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86400, s % 86400 / 3600),
    }
}

fn shorten(text: &str, most: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(most) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

impl ProcessTable {
    /// Makes one session of those with one mark. What a server starts may lead a session of its own,
    /// and has its mark: only one start ever has one.
    fn join_helpers(&mut self) {
        let mut places: BTreeMap<Mark, Vec<usize>> = BTreeMap::new();
        for (place, session) in self.sessions.iter().enumerate() {
            places.entry(session.mark.clone()).or_default().push(place);
        }
        let mut joined: BTreeMap<u32, u32> = BTreeMap::new();
        for places in places.values().filter(|places| places.len() > 1) {
            let sessions = places.iter().map(|place| &self.sessions[*place]);
            let main = started_first(&sessions.collect::<Vec<_>>());
            let ids = places.iter().map(|place| self.sessions[*place].id);
            joined.extend(ids.filter(|id| *id != main).map(|id| (id, main)));
        }
        let (helpers, mut sessions): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sessions)
            .into_iter()
            .partition(|session| joined.contains_key(&session.id));
        for helper in helpers {
            let main = joined[&helper.id];
            let main = sessions.iter_mut().find(|session| session.id == main);
            if let Some(main) = main {
                main.processes.extend(helper.processes);
                main.processes.sort_by_key(|process| process.pid);
            }
        }
        self.sessions = sessions;
        let owners = self.listeners.iter_mut().flat_map(|l| &mut l.owners);
        for owner in owners {
            if let Some(main) = joined.get(&owner.session) {
                owner.session = *main;
            }
        }
    }
}

/// The session that was there first: it started the others. Where a leader is gone nobody knows when
/// it started, and the lowest number was given first.
fn started_first(sessions: &[&Session]) -> u32 {
    let leaders: Option<Vec<_>> = sessions.iter().map(|session| session.leader()).collect();
    let first = leaders.and_then(|leaders| leaders.into_iter().min_by_key(|it| (it.start, it.pid)));
    let lowest = sessions.iter().map(|session| session.id).min();
    first
        .map(|leader| leader.pid)
        .or(lowest)
        .unwrap_or_default()
}

/// Gathers the lines of an answer.
#[derive(Default)]
struct Reader {
    table: ProcessTable,
    members: BTreeMap<u32, Vec<Process>>,
    session_of: BTreeMap<u32, u32>,
    marks: BTreeMap<u32, Mark>,
    specs: BTreeMap<u32, Value>,
    commands: BTreeMap<u32, (String, String)>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let _ = match word {
            "boot" => {
                rest.clone_into(&mut self.table.boot_id);
                Some(())
            }
            "clock" => self.clock(rest),
            "process" => self.process(rest),
            "foreign" => self.unmanaged(rest),
            "MARK" => self.mark(rest),
            "SPEC" => self.spec(rest),
            "command" => self.command(rest),
            "listener" => self.listener(rest),
            "owner" => self.owner(rest),
            _ => None,
        };
    }

    fn clock(&mut self, rest: &str) -> Option<()> {
        let (uptime, ticks) = rest.split_once(' ')?;
        self.table.uptime = uptime.parse().ok()?;
        self.table.ticks = ticks.parse().ok()?;
        Some(())
    }

    /// `pid ppid session start marked|unmarked name…`
    fn process(&mut self, rest: &str) -> Option<()> {
        let mut f = rest.splitn(6, ' ');
        let pid = f.next()?.parse().ok()?;
        let session = f.nth(1)?.parse().ok()?;
        let start = f.next()?.parse().ok()?;
        let name = f.nth(1)?.to_owned();
        self.session_of.insert(pid, session);
        self.members.entry(session).or_default().push(Process {
            pid,
            start,
            name,
            ..Process::default()
        });
        Some(())
    }

    /// `pid ppid start own|other|container child|orphan name…`
    fn unmanaged(&mut self, rest: &str) -> Option<()> {
        let mut f = rest.splitn(6, ' ');
        let pid = f.next()?.parse().ok()?;
        let parent = f.next()?.parse().ok()?;
        let start = f.next()?.parse().ok()?;
        let ownership = match f.next()? {
            "own" => Ownership::Own,
            "container" => Ownership::Container,
            _ => Ownership::OtherUser,
        };
        let orphaned = f.next()? == "orphan";
        let name = f.next()?.to_owned();
        let process = Process {
            pid,
            start,
            name,
            ..Process::default()
        };
        self.table.unmanaged.push(UnmanagedProcess {
            process,
            parent,
            orphaned,
            ownership,
        });
        Some(())
    }

    fn mark(&mut self, rest: &str) -> Option<()> {
        let (pid, mark) = rest.split_once(' ')?;
        self.marks.insert(pid.parse().ok()?, mark.parse().ok()?);
        Some(())
    }

    fn spec(&mut self, rest: &str) -> Option<()> {
        let (pid, spec) = rest.split_once(' ')?;
        self.specs
            .insert(pid.parse().ok()?, serde_json::from_str(spec).ok()?);
        Some(())
    }

    /// `pid user command…`
    fn command(&mut self, rest: &str) -> Option<()> {
        let mut f = rest.splitn(3, ' ');
        let pid = f.next()?.parse().ok()?;
        let user = f.next()?.to_owned();
        let command = f.next().unwrap_or_default().trim().to_owned();
        self.commands.insert(pid, (user, command));
        Some(())
    }

    /// `port-in-hex inode uid`
    fn listener(&mut self, rest: &str) -> Option<()> {
        let mut f = rest.split(' ');
        self.table.listeners.push(Listener {
            port: u16::from_str_radix(f.next()?, 16).ok()?,
            inode: f.next()?.parse().ok()?,
            uid: f.next()?.parse().ok()?,
            owners: Vec::new(),
        });
        Some(())
    }

    /// `inode pid session start user command…`
    fn owner(&mut self, rest: &str) -> Option<()> {
        let mut f = rest.splitn(5, ' ');
        let inode: u64 = f.next()?.parse().ok()?;
        let pid = f.next()?.parse().ok()?;
        let session = f.next()?.parse().ok()?;
        let user = f.next()?.to_owned();
        let command = f.next().unwrap_or_default().trim().to_owned();
        let process = Process {
            pid,
            user,
            command,
            ..Process::default()
        };
        let listener = self.table.listeners.iter_mut().find(|l| l.inode == inode)?;
        listener.owners.push(Owner { session, process });
        Some(())
    }

    fn finish(mut self) -> ProcessTable {
        for process in self
            .members
            .values_mut()
            .flatten()
            .chain(self.table.unmanaged.iter_mut().map(|it| &mut it.process))
        {
            if let Some((user, command)) = self.commands.remove(&process.pid) {
                process.user = user;
                process.command = command;
            }
        }
        self.table.unmanaged.retain(|it| is_vllm(&it.process));
        self.table.unmanaged.sort_by_key(|it| it.process.pid);
        for (id, mut processes) in self.members {
            processes.sort_by_key(|process| process.pid);
            // The leader's word comes first; an orphan's is as good when it is gone.
            let witness = |pid: &u32| self.session_of.get(pid) == Some(&id);
            let marked = self.marks.keys().filter(|pid| witness(pid));
            let Some(pid) = marked.min_by_key(|&&pid| (pid != id, pid)).copied() else {
                continue;
            };
            self.table.sessions.push(Session {
                id,
                mark: self.marks[&pid].clone(),
                spec: self.specs.remove(&pid).unwrap_or_default(),
                processes,
            });
        }
        self.table.join_helpers();
        for (place, session) in self.table.sessions.iter().enumerate() {
            let places = self
                .table
                .places
                .entry(session.mark.of_thing())
                .or_default();
            places.push(place);
        }
        self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
boot 0f9c
clock 1541.61 100
process 200 1 200 152161 marked replica
process 201 200 200 152170 unmarked VLLM::EngineCor
process 301 1 300 100 marked VLLM::EngineCor
foreign 400 1 1000 other orphan python3
SPEC 200 {\"listen\":{\"port\":8100}}
MARK 200 v1:t:instance/a:2:ff
MARK 301 v1:t:instance/b:1:ee
SPEC 301 {}
command 200 nvidia replica simulate serve demo
command 400 root vllm serve x --port 9000
listener 1FA4 11 1000
listener 2328 12 0
listener 0016 13 0
owner 11 200 200 nvidia replica simulate serve demo
owner 12 400 400 root vllm serve x --port 9000
garbage
process x y
";

    fn table() -> Arc<ProcessTable> {
        ProcessTable::read(&[(ID.to_owned(), ANSWER.to_owned())].into_iter().collect())
    }

    #[test]
    fn a_session_is_ours_by_any_mark_in_it() {
        let table = table();
        let node = "n".parse().unwrap();
        let a = table.of("t", &Address::on(&node, "instance", Some("a")));
        assert_eq!(a.len(), 1);
        assert_eq!(a[0].leader().unwrap().pid, 200);
        assert_eq!(a[0].processes.len(), 2);
        assert_eq!(a[0].spec["listen"]["port"], 8100);
        let b = table.of("t", &Address::on(&node, "instance", Some("b")));
        assert!(
            b[0].leader().is_none(),
            "its leader is gone, the orphan is ours"
        );
        assert!(
            table
                .of("other", &Address::on(&node, "instance", Some("a")))
                .is_empty()
        );
    }

    #[test]
    fn whoever_holds_a_port_is_named() {
        let table = table();
        let own: Vec<_> = table.sessions.iter().filter(|s| s.id == 200).collect();
        assert_eq!(table.holder_of(8100, &own, &[]), None);
        insta::assert_snapshot!(table.holder_of(8100, &[], &[]).unwrap(),
            @"instance.a of topology `t` (pid 200)");
        insta::assert_snapshot!(table.holder_of(9000, &own, &[]).unwrap(),
            @"pid 400 of user root: vllm serve x --port 9000");
        insta::assert_snapshot!(table.holder_of(22, &own, &[]).unwrap(),
            @"a process of another user (uid 0), which cannot be seen from here");
        assert_eq!(table.holder_of(80, &own, &[]), None);
    }

    #[test]
    fn what_a_server_starts_is_its_own_in_whichever_session() {
        let read = |lines: &str| {
            let facts = [(
                ID.to_owned(),
                format!("boot 0f9c\nclock 1541.61 100\n{lines}"),
            )];
            ProcessTable::read(&facts.into_iter().collect())
        };
        let mark = |pid: u32| format!("MARK {pid} v1:t:instance/a:2:ff\n");
        // The helper's number is the lower one: numbers go round.
        let both = read(&format!(
            "process 900 1 900 100 marked vllm\nprocess 200 900 200 150 marked helper\n{}{}\
             listener 1FA4 11 1000\nowner 11 200 200 nvidia helper\n",
            mark(900),
            mark(200)
        ));
        assert_eq!(both.sessions.len(), 1);
        let session = &both.sessions[0];
        assert_eq!(session.leader().unwrap().pid, 900);
        assert_eq!(session.processes.len(), 2);
        assert!(both.listens_alone(session, 8100));
        // The server is gone: what is left of it leads nothing that counts.
        let left = read(&format!(
            "process 301 1 300 120 marked VLLM::EngineCor\nprocess 310 1 310 110 marked helper\n{}{}",
            mark(301),
            mark(310)
        ));
        assert_eq!(left.sessions.len(), 1);
        assert_eq!(left.sessions[0].leader(), None);
        // Another start is another server.
        let two = read(&format!(
            "process 900 1 900 100 marked vllm\nprocess 950 1 950 150 marked vllm\n{}\
             MARK 950 v1:t:instance/a:3:ff\n",
            mark(900)
        ));
        assert_eq!(two.sessions.len(), 2);
    }

    #[test]
    fn a_process_is_described_with_its_age() {
        let table = table();
        insta::assert_snapshot!(table.describe(&table.unmanaged[0].process),
            @"pid 400 of user root, up 25m31s: vllm serve x --port 9000");
    }
}
