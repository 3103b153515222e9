//! What every room wants to know of a node: its system, its home, and the files of ours on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::facts::{Fact, Facts};
use crate::node::perform::Emptied;
use crate::node::{NodeKey, quote_path};
use crate::plan::Address;

/// Where a server listens, and where others find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listens {
    /// The address that it listens on; it may be all of its node's.
    pub on: String,
    /// The address by which others reach it.
    pub reached_at: String,
    /// The network by which the manifest calls that address: `lan`.
    pub network: String,
    /// Whether there are others: another machine than this one, or than its own.
    pub by_others: bool,
}

/// The folder of a node in which every topology has one.
const STATE: &str = "~/.local/state/replica";

/// What is in the folder of a topology.
const BINARIES: &str = "bin";
const LOGS: &str = "log";
const RUN: &str = "run";

/// What the note of a program's digest is called, after a dot and the program.
const NOTE: &str = ".sha256";

/// The random key, in the folder that everything runs in: it goes with the last thing there.
const NODE_KEY: &str = "run/node.key";

/// What the names of notes on arguments that were accepted begin with.
const ACCEPTED: &str = "run/arguments.";

/// The folder on a node that holds everything of one topology. How it is laid out is known here
/// alone.
///
/// ```text
/// ~/.local/state/replica/<topology>/bin/replica-<build>
///                                   log/<kind>.<name>.<generation>.log, .ready, .again, .pruned
///                                   run/proxy.sock
///                                   run/node.key
///                                   run/arguments.<digest>
///                        <topology>.lock
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFolder {
    path: String,
}

impl StateFolder {
    /// What goes with the last thing that was in it. Whatever runs has a log: where there is none
    /// any more, nobody is in the folder that all run in.
    pub const EMPTIED: Emptied = Emptied {
        root: STATE,
        last: LOGS,
        beside: RUN,
    };

    /// The folder of a topology.
    pub fn of(topology: &str) -> Self {
        Self {
            path: format!("{STATE}/{topology}"),
        }
    }

    /// The folder in which those of all topologies are.
    pub fn of_all() -> &'static str {
        STATE
    }

    /// Itself, and the folders in it.
    pub fn folders(&self) -> [String; 4] {
        let inside = |folder| format!("{}/{folder}", self.path);
        [
            self.path.clone(),
            inside(BINARIES),
            inside(LOGS),
            inside(RUN),
        ]
    }

    /// The file whose lock keeps two runs apart. It is beside the folder, which may not be there.
    pub fn lock(&self) -> String {
        format!("{}.lock", self.path)
    }

    /// The folder of programs of ours.
    pub fn binaries(&self) -> String {
        format!("{}/{BINARIES}", self.path)
    }

    /// A program of ours.
    pub fn binary(&self, name: &str) -> String {
        format!("{}/{name}", self.binaries())
    }

    /// The folder that everything of ours runs in.
    pub fn run(&self) -> String {
        format!("{}/{RUN}", self.path)
    }

    /// The file of the random key by which secrets are told apart there.
    pub fn node_key(&self) -> String {
        self.file(NODE_KEY)
    }

    /// The note that an engine accepted arguments of this digest.
    pub fn accepted(&self, digest: &str) -> String {
        format!("{}{digest}", self.file(ACCEPTED))
    }

    /// The file whose lock keeps two from asking engines of one node at a time.
    pub fn accepted_lock(&self) -> String {
        self.accepted("lock")
    }

    /// The folder of logs.
    pub fn logs(&self) -> String {
        self.file(LOGS)
    }

    /// Where one start of a thing writes its log.
    pub fn log(&self, address: &Address, generation: u64) -> String {
        format!("{}/{}.{generation}.log", self.logs(), address.local())
    }

    /// A file that a [`NodeFiles`] knows by its path in the folder.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// The fact that a [`NodeFiles`] is read from.
    pub fn fact(&self) -> Fact {
        Fact::new(
            self.id(),
            format!(
                "echo \"system $(uname -sm)\"; echo \"home $HOME\"\ncd {} 2>/dev/null || exit 0\n\
                 find {BINARIES} {LOGS} {RUN} -type f -exec stat -c 'file %s %n' {{}} + 2>/dev/null\n\
                 grep -Hs '^[0-9]' {LOGS}/*.ready\n\
                 [ ! -s {NODE_KEY} ] || echo \"node-key $(cat {NODE_KEY})\"\n\
                 set -- {BINARIES}/.*{NOTE}\n{}true",
                quote_path(&self.path),
                include_str!("spoiled.sh"),
            ),
        )
    }

    fn id(&self) -> String {
        format!("place {}", self.path)
    }
}

/// A start of a thing, by the log that it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start<'a> {
    /// The log's path in the folder.
    pub path: &'a str,
    /// Which start it was.
    pub generation: u64,
    /// The log's size in bytes.
    pub size: u64,
}

/// One node, as far as files and names go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFiles {
    /// The fact that it was read from.
    id: String,
    /// What `uname -sm` says: `Linux aarch64`.
    pub system: String,
    /// The home of the user there.
    pub home: String,
    /// The files of ours, by their path in the folder, with their sizes in bytes.
    pub files: BTreeMap<String, u64>,
    /// The programs that hold something else than what was put there, by their path in the folder.
    spoiled: BTreeSet<String>,
    /// How many seconds a start took until it served, by its note's path in the folder.
    took: BTreeMap<String, u64>,
    /// The random key by which secrets are told apart there, once something had one.
    pub node_key: Option<NodeKey>,
}

impl NodeFiles {
    /// Reads [`StateFolder::fact`].
    pub fn read(folder: &StateFolder, facts: &Facts) -> Arc<Self> {
        let files = facts.parsed(|facts| Self::read_anew(folder, facts));
        // What was parsed before may be of another topology's folder.
        if files.id == folder.id() {
            return files;
        }
        Arc::new(Self::read_anew(folder, facts))
    }

    fn read_anew(folder: &StateFolder, facts: &Facts) -> Self {
        let mut files = Self {
            id: folder.id(),
            ..Self::default()
        };
        for line in facts.get(&folder.id()).lines() {
            match line.split_once(' ') {
                Some(("system", system)) => system.clone_into(&mut files.system),
                Some(("home", home)) => home.clone_into(&mut files.home),
                Some(("node-key", key)) => files.node_key = key.parse().ok(),
                Some(("spoiled", name)) => drop(files.spoiled.insert(name.trim_end().to_owned())),
                Some(("file", rest)) => {
                    if let Some((size, name)) = rest.split_once(' ')
                        && let Ok(size) = size.parse()
                    {
                        files.files.insert(name.to_owned(), size);
                    }
                }
                _ => drop(files.take_note(line)),
            }
        }
        files
    }

    /// Reads `log/instance.a.2.ready:45`.
    fn take_note(&mut self, line: &str) -> Option<()> {
        let (name, seconds) = line.trim_end().rsplit_once(':')?;
        read_name(name, ".ready")?;
        self.took.insert(name.to_owned(), seconds.parse().ok()?);
        Some(())
    }

    /// Whether an engine was asked here and accepted arguments of this digest.
    pub fn has_accepted(&self, digest: &str) -> bool {
        self.files.contains_key(&format!("{ACCEPTED}{digest}"))
    }

    /// The programs of ours that are here, by name, with their sizes in bytes.
    pub fn binaries(&self) -> impl Iterator<Item = (&str, u64)> {
        let files = self.files.iter();
        let files = files.filter(|(path, _)| !path.ends_with(NOTE));
        files.filter_map(|(path, size)| Some((inside(path, BINARIES)?, *size)))
    }

    /// Whether a program of ours holds something else than what was put there.
    pub fn is_spoiled(&self, name: &str) -> bool {
        self.spoiled.contains(&format!("{BINARIES}/{name}"))
    }

    /// The things that have left logs here, each with its newest generation.
    pub fn logged(&self) -> BTreeMap<String, u64> {
        let mut logged = BTreeMap::new();
        for name in self.files.keys() {
            if let Some((thing, generation)) = read_log_name(name) {
                let newest = logged.entry(thing.to_owned()).or_insert(0);
                *newest = generation.max(*newest);
            }
        }
        logged
    }

    /// The logs of a thing, and what was noted beside them, by their path in the folder.
    pub fn logs_of(&self, address: &Address) -> impl Iterator<Item = &str> {
        let local = address.local();
        beginning_with(&self.files, &local)
            .map(|(name, _)| name)
            .filter(move |name| {
                let suffixes = [".log", ".ready", ".again", ".pruned"].into_iter();
                let mut read = suffixes.filter_map(|suffix| read_name(name, suffix));
                read.any(|(thing, _)| thing == local)
            })
    }

    /// The starts of a thing that have left a log.
    pub fn starts_of(&self, address: &Address) -> impl Iterator<Item = Start<'_>> {
        let local = address.local();
        let files = beginning_with(&self.files, &local);
        files.filter_map(move |(path, size)| {
            let (thing, generation) = read_log_name(path)?;
            (thing == local).then_some(Start {
                path,
                generation,
                size: *size,
            })
        })
    }

    /// Whether one start of a thing was ever seen to serve.
    pub fn has_served(&self, address: &Address, generation: u64) -> bool {
        let local = address.local();
        beginning_with(&self.files, &local)
            .any(|(name, _)| read_name(name, ".ready") == Some((&local, generation)))
    }

    /// How often systemd has begun one start of a thing again since that was seen to serve.
    pub fn begun_again(&self, address: &Address, generation: u64) -> u64 {
        let local = address.local();
        let mut notes = beginning_with(&self.files, &local);
        let note = notes.find(|(name, _)| read_name(name, ".again") == Some((&local, generation)));
        // Each time adds a byte.
        note.map_or(0, |(_, size)| *size)
    }

    /// How long the newest start of a thing took that was watched until it served.
    pub fn last_took(&self, address: &Address) -> Option<Duration> {
        let local = address.local();
        let of_thing = beginning_with(&self.took, &local).filter_map(|(name, seconds)| {
            let (thing, generation) = read_name(name, ".ready")?;
            (thing == local).then_some((generation, *seconds))
        });
        of_thing
            .max()
            .map(|(_, seconds)| Duration::from_secs(seconds))
    }

    /// The newest generation of a thing that has left a log here; 0 where none has.
    pub fn last_generation(&self, address: &Address) -> u64 {
        let local = address.local();
        let generations = beginning_with(&self.files, &local).filter_map(|(name, _)| {
            let (thing, generation) = read_log_name(name)?;
            (thing == local).then_some(generation)
        });
        generations.max().unwrap_or(0)
    }
}

/// What there is in the folder of logs of a thing, and of those whose names go on where its name
/// ends. They lie together: many things on one node are not walked for each of them.
fn beginning_with<'a, T>(
    all: &'a BTreeMap<String, T>,
    thing: &str,
) -> impl Iterator<Item = (&'a str, &'a T)> + use<'a, T> {
    let head = format!("{LOGS}/{thing}.");
    let from = all.range(head.clone()..);
    from.map(|(name, value)| (name.as_str(), value))
        .take_while(move |(name, _)| name.starts_with(&head))
}

/// Reads the path of a file that is in one of the folders.
fn inside<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// Reads `log/<thing>.<generation>.log`.
fn read_log_name(name: &str) -> Option<(&str, u64)> {
    read_name(name, ".log")
}

/// Reads `log/<thing>.<generation><suffix>`.
fn read_name<'a>(name: &'a str, suffix: &str) -> Option<(&'a str, u64)> {
    let name = inside(name, LOGS)?.strip_suffix(suffix)?;
    let (thing, generation) = name.rsplit_once('.')?;
    Some((thing, generation.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_log_tells_the_last_generation() {
        let folder = StateFolder::of("t");
        let answer = "system Linux aarch64\nhome /home/nvidia\nfile 10 log/instance.a.2.log\n\
                      file 10 log/instance.a.11.log\nfile 5 log/instance.a.b.1.log\nfile 0 log/instance.a.2.ready\nfile 7 bin/replica-0f\n\
                      log/instance.a.2.ready:45\nlog/instance.a.1.ready:90\nlog/instance.a.b.1.ready:7\nlog/instance.a.3.ready:x\n";
        let facts = [(folder.id(), answer.to_owned())].into_iter().collect();
        let files = NodeFiles::read(&folder, &facts);
        let node = "n".parse().unwrap();
        let generation = |name| files.last_generation(&Address::on(&node, "instance", Some(name)));
        assert_eq!(generation("a"), 11);
        assert_eq!(generation("a.b"), 1);
        assert_eq!(generation("c"), 0);
        assert_eq!(files.files["bin/replica-0f"], 7);
        let a = Address::on(&node, "instance", Some("a"));
        assert!(files.has_served(&a, 2) && !files.has_served(&a, 11));
        assert_eq!(files.logs_of(&a).count(), 3);
        assert_eq!(files.last_took(&a), Some(Duration::from_secs(45)));
        let c = Address::on(&node, "instance", Some("c"));
        assert_eq!(files.last_took(&c), None);
    }
}
