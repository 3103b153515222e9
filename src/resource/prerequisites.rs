//! What a node must have before anything of ours can be done there: tools, and a folder to write in
//! that no other node has.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::contract::Observation;
use super::facts::{Fact, Facts};
use super::machine::Bytes;
use super::node_files::StateFolder;
use crate::name::NodeName;
use crate::node::quote_path;
use crate::plan::{Reason, ReasonCode};

const ID: &str = "prerequisites";

/// What a start writes at least: the beginning of its log.
const ROOM: Bytes = Bytes(1 << 20);

/// The file systems that several machines have at once.
const SHARED: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "fuse.ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "glusterfs",
    "fuse.glusterfs",
    "fuse.sshfs",
];

/// What is known of a node before anything is done there. What it could not tell is nothing here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prerequisites {
    /// The tools that it lacks.
    lacks: BTreeSet<String>,
    /// The home of the user there, where it is missing.
    homeless: Option<String>,
    /// The folder of all topologies.
    root: String,
    /// What this user may not write.
    unwritable: Vec<String>,
    /// What is in the place of a folder and is none.
    blocked: Vec<String>,
    /// The boot, and which folder it is in it: two nodes that tell the same have one.
    folder: Option<Folder>,
    /// What this user may still write there, in bytes and in files.
    free: Option<Free>,
    /// How it is mounted.
    mount: Option<Mount>,
}

/// A folder, as its machine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    boot: String,
    device: u64,
    inode: u64,
    /// What is to be made below it.
    rest: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Free {
    bytes: Bytes,
    /// Nothing where the file system counts none.
    files: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    options: BTreeSet<String>,
    kind: String,
    source: String,
}

impl Prerequisites {
    /// The fact that this is read from.
    pub fn fact(folder: &StateFolder) -> Fact {
        let folders = folder.folders().map(|one| quote_path(&one)).join(" ");
        let script = format!(
            "root={} lock={}\nset -- {folders}\n{}",
            quote_path(StateFolder::of_all()),
            quote_path(&folder.lock()),
            include_str!("prerequisites.sh")
        );
        Fact::new(ID, script)
    }

    /// Reads [`Prerequisites::fact`].
    pub fn read(facts: &Facts) -> Arc<Self> {
        facts.parsed(|facts| {
            let mut found = Self::default();
            for line in facts.get(ID).lines() {
                let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line, ""));
                found.take(word, rest);
            }
            found
        })
    }

    fn take(&mut self, word: &str, rest: &str) {
        match word {
            "lacks" => drop(self.lacks.insert(rest.to_owned())),
            "homeless" => self.homeless = Some(rest.to_owned()),
            "root" => rest.clone_into(&mut self.root),
            "unwritable" => self.unwritable.push(rest.to_owned()),
            "blocked" => self.blocked.push(rest.to_owned()),
            "folder" => self.folder = Folder::read(rest),
            "free" => self.free = Free::read(rest),
            "mount" => self.mount = Mount::read(rest),
            _ => {}
        }
    }

    fn is_mounted(&self, option: &str) -> bool {
        let options = self.mount.as_ref().map(|mount| &mount.options);
        options.is_some_and(|options| options.contains(option))
    }
}

impl Folder {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(4, ' ');
        Some(Self {
            boot: words.next().filter(|boot| !boot.is_empty())?.to_owned(),
            device: words.next()?.parse().ok()?,
            inode: words.next()?.parse().ok()?,
            rest: words.next().unwrap_or_default().to_owned(),
        })
    }
}

impl Free {
    /// Reads the blocks, their size, the files, and all files that there could be.
    fn read(text: &str) -> Option<Self> {
        let numbers: Result<Vec<u64>, _> = text.split(' ').map(str::parse).collect();
        let [blocks, size, files, all] = numbers.ok()?[..] else {
            return None;
        };
        Some(Self {
            bytes: Bytes(blocks.saturating_mul(size)),
            files: (all > 0).then_some(files),
        })
    }
}

impl Mount {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        Some(Self {
            options: words.next()?.split(',').map(str::to_owned).collect(),
            kind: words.next()?.to_owned(),
            source: words.next()?.to_owned(),
        })
    }

    fn is_shared(&self) -> bool {
        SHARED.contains(&self.kind.as_str())
    }
}

/// Each reason why nothing at all can be done on a node: whatever is done there, a lock is held.
pub fn unmet(node: &NodeName, observed: &Observation) -> Vec<Reason> {
    let Some(facts) = observed.of(node) else {
        return Vec::new();
    };
    let found = Prerequisites::read(facts);
    let to_lock = ["flock", "timeout"].into_iter();
    let lacks = to_lock
        .filter(|tool| found.lacks.contains(*tool))
        .map(lacks);
    let shared = shared_with(node, &found, observed);
    let reasons = lacks.chain(found.not_writable());
    reasons.chain(shared).collect()
}

/// Each reason why no process can be started on a node.
pub(super) fn startless(facts: &Facts) -> Vec<Reason> {
    let found = Prerequisites::read(facts);
    let lacks_setsid = found.lacks.contains("setsid").then(|| lacks("setsid"));
    lacks_setsid.into_iter().chain(found.full(ROOM)).collect()
}

impl Prerequisites {
    fn not_writable(&self) -> Option<Reason> {
        if let Some(path) = self.blocked.first() {
            let text = format!("{path} is in the way: it is no folder that can be entered");
            let hint = "move it away: replica keeps its state in a folder there";
            return Some(Reason::new(ReasonCode::OtherFolder, text).hinted(hint));
        }
        let path = self.unwritable.first()?;
        let (text, hint) = if let Some(home) = &self.homeless {
            (
                format!("its home {home} is not there, and cannot be made"),
                "make it, or log in as a user who has one: replica keeps its state there",
            )
        } else if self.is_mounted("ro") {
            (
                format!("{path} cannot be written: it is mounted read-only"),
                "mount it so that it can be written: replica keeps its state there",
            )
        } else {
            (
                format!("{path} cannot be written by this user"),
                "give it to that user (chown -R), or log in as another one",
            )
        };
        Some(Reason::new(ReasonCode::NotWritable, text).hinted(hint))
    }

    /// Why so much cannot be written.
    pub fn full(&self, room: Bytes) -> Option<Reason> {
        let free = self.free?;
        let text = if free.files == Some(0) {
            format!("the disk of {} has no room for another file", self.root)
        } else if free.bytes < room {
            let (lacks, left) = (room.0.div_ceil(1_000_000), free.bytes.0 / 1_000_000);
            format!(
                "the disk of {} has {left} MB left of the {lacks} MB that it takes",
                self.root
            )
        } else {
            return None;
        };
        let hint = "free some: programs and logs of replica go there";
        Some(Reason::new(ReasonCode::DiskFull, text).hinted(hint))
    }

    /// Why no program in the folder can be run.
    pub fn no_programs(&self) -> Option<Reason> {
        self.is_mounted("noexec").then(|| {
            let text = format!(
                "no program in {} can be run: it is mounted noexec",
                self.root
            );
            let hint = "mount it with exec, or make it a link to a folder where programs may run";
            Reason::new(ReasonCode::NotExecutable, text).hinted(hint)
        })
    }
}

fn lacks(tool: &str) -> Reason {
    let text = format!("there is no {tool} on the node");
    let package = if tool == "timeout" {
        "coreutils"
    } else {
        "util-linux"
    };
    let hint =
        format!("install {package} there, or put it into the PATH of a login without a terminal");
    Reason::new(ReasonCode::NoTool, text).hinted(hint)
}

/// That another node of the manifest has the same folder: each would take the other's processes and
/// logs for its own, and one holds the lock that the other wants.
fn shared_with(node: &NodeName, found: &Prerequisites, observed: &Observation) -> Option<Reason> {
    let own = found.folder.as_ref()?;
    let mut others = observed.answered().filter(|(other, _)| *other != node);
    let (other, network) = others.find_map(|(other, facts)| {
        let theirs = Prerequisites::read(facts);
        let folder = theirs.folder.as_ref()?;
        if folder == own {
            return Some((other, None));
        }
        let is_same = (folder.inode, &folder.rest) == (own.inode, &own.rest);
        let mount = found.mount.as_ref().filter(|mount| mount.is_shared())?;
        let is_same = is_same && theirs.mount.as_ref()?.source == mount.source;
        is_same.then(|| (other, Some(mount.source.clone())))
    })?;
    let (one, two) = (node.min(other), node.max(other));
    let root = &found.root;
    let (text, hint) = match network {
        None => (
            format!("{one} and {two} are one machine, with one folder {root}"),
            "declare it as one node, and name that for all that is to run there".to_owned(),
        ),
        Some(source) => (
            format!("{one} and {two} have one folder {root} (on {source})"),
            format!("make {root} a link to a folder on each machine's own disk"),
        ),
    };
    Some(Reason::new(ReasonCode::SharedFolder, text).hinted(hint))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::resource::facts::Question;

    /// What a machine answers whose home is this.
    fn asked(home: &Path, path: &str) -> Prerequisites {
        let Question::Script(script) = Prerequisites::fact(&StateFolder::of("t")).question else {
            panic!("it is asked by a script");
        };
        let output = Command::new("/bin/sh")
            .args(["-c", &script])
            .env("HOME", home)
            .env("PATH", path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let facts: Facts = [(ID.to_owned(), answer)].into_iter().collect();
        Prerequisites::read(&facts).as_ref().clone()
    }

    const PATH: &str = "/usr/bin:/bin";

    #[test]
    fn a_home_that_is_as_homes_are_lacks_nothing() {
        let home = tempfile::tempdir().unwrap();
        let before = asked(home.path(), PATH);
        assert_eq!(before.not_writable(), None);
        assert!(before.lacks.is_empty() && before.homeless.is_none());
        assert!(before.free.unwrap().bytes > ROOM && before.mount.is_some());
        let folder = before.folder.unwrap();
        assert_eq!(folder.rest, "/.local/state/replica");

        fs::create_dir_all(home.path().join(".local/state/replica/t/log")).unwrap();
        let after = asked(home.path(), PATH);
        assert_eq!(after.not_writable(), None);
        assert_eq!(after.folder.unwrap().rest, "", "it is there");
        let of_two_names = home.path().join("other");
        symlink(home.path(), &of_two_names).unwrap();
        let other = asked(&of_two_names, PATH);
        assert_eq!(other.folder, asked(home.path(), PATH).folder);
        assert!(
            fs::read_dir(home.path()).unwrap().count() == 2,
            "nothing was written"
        );
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let home = tempfile::tempdir().unwrap();
        let local = home.path().join(".local");
        let named = |what: &Path| {
            let reason = asked(home.path(), PATH).not_writable().unwrap();
            assert_eq!(reason.code, ReasonCode::OtherFolder);
            let text = &reason.text;
            assert!(text.contains(what.to_str().unwrap()), "{text}");
        };
        fs::write(&local, "").unwrap();
        named(&local);
        fs::remove_file(&local).unwrap();
        symlink("/nowhere/at/all", &local).unwrap();
        named(&local);
        fs::remove_file(&local).unwrap();
        let own = local.join("state/replica/t");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("bin"), "").unwrap();
        named(&own.join("bin"));
    }

    #[test]
    fn tools_and_homes_that_are_not_there_are_told() {
        let home = tempfile::tempdir().unwrap();
        let bare = asked(home.path(), home.path().to_str().unwrap());
        let lacking: Vec<_> = bare.lacks.iter().collect();
        assert_eq!(lacking, ["flock", "setsid", "timeout"]);
        assert_eq!((bare.free, bare.mount), (None, None));
        let gone = home.path().join("gone");
        let homeless = asked(&gone, PATH);
        assert_eq!(homeless.homeless.as_deref(), gone.to_str());
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        for answer in [
            "",
            "folder\nfree\nmount\n",
            "folder  1 2\nfree 1 2\nmount rw\n",
            "free a b c d\n",
        ] {
            let facts: Facts = [(ID.to_owned(), answer.to_owned())].into_iter().collect();
            assert_eq!(
                *Prerequisites::read(&facts),
                Prerequisites::default(),
                "{answer}"
            );
        }
    }
}
