//! The lock of a topology: held on each node by a script that is shown life over the connection, so
//! that it cannot leak.

mod holder;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::error::Error;
use crate::name::NodeName;
use crate::node::{Command, Fleet, Held, LEASE, Lease, Node, quote_path};
use crate::resource::StateFolder;
use crate::view::Screen;
use holder::{Holder, Process, Sign};

/// Locks that are held until this is dropped, or this process or its connections end.
#[derive(Default)]
pub(super) struct Locks {
    pub(super) held: BTreeMap<NodeName, Lease>,
    /// The nodes where nobody can have one, each with why. Nothing may be done there.
    pub(super) without: BTreeMap<NodeName, String>,
}

impl Locks {
    /// Lets go of all locks. They are seen to be gone before this returns: whoever starts the next
    /// run finds none.
    pub(super) async fn release(self) {
        let mut releasing = JoinSet::new();
        for lease in self.held.into_values() {
            releasing.spawn(lease.release());
        }
        while releasing.join_next().await.is_some() {}
    }

    fn add(&mut self, node: NodeName, taken: Taken) -> Option<Error> {
        match taken {
            Taken::Held(lease) => drop(self.held.insert(node, lease)),
            Taken::Without(why) => drop(self.without.insert(node, why)),
            Taken::Refused(error) => return Some(error),
        }
        None
    }
}

/// How often a lock is asked for that another run has.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// Takes the lock on every node that was reached, or says who holds it once that took longer than this.
pub(super) async fn take(
    fleet: &Fleet,
    topology: &str,
    screen: &Screen,
    patience: Duration,
) -> Result<Locks, Error> {
    let taking = Taking {
        topology: topology.to_owned(),
        holder: Holder::new(),
        screen: screen.clone(),
    };
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match taking.take(fleet).await {
            Err(Error::Locked { node, holder, .. }) if began.elapsed() < patience => {
                if !std::mem::replace(&mut is_told, true) {
                    screen.note(&format!("waiting for the lock of {node}: {holder} has it"));
                }
            }
            taken => return taken,
        }
        // Two that wait must not go on meeting half-way.
        let pause = ASKED_EVERY.mul_f64(0.5 + fastrand::f64());
        let left = patience.saturating_sub(began.elapsed());
        tokio::time::sleep(pause.min(left)).await;
    }
}
/// Nodes in an order that does not hang on what a manifest calls them, wherever they told their boot.
fn in_order(mut nodes: Vec<Node>, boots: &BTreeMap<NodeName, String>) -> Vec<Node> {
    nodes.sort_by_key(|node| (boots.get(node.name()).cloned(), node.name().clone()));
    nodes
}

/// What came of asking one node.
enum Taken {
    Held(Lease),
    /// Nobody can have it there, for this reason.
    Without(String),
    /// Another run has it.
    Refused(Error),
}

/// A run that takes its locks.
#[derive(Clone)]
struct Taking {
    topology: String,
    holder: Holder,
    screen: Screen,
}

type AtOnce = (Locks, Option<Error>, BTreeMap<NodeName, String>);

impl Taking {
    /// Takes the lock on every node that was reached, or says who holds it.
    ///
    /// All are taken at once. Where some were had and some were not, two runs may have met half-way: then
    /// all are let go, and taken once more one after another, in an order that is the same for everybody,
    /// so that one of the two gets all.
    async fn take(&self, fleet: &Fleet) -> Result<Locks, Error> {
        let nodes: Vec<_> = fleet.reached().cloned().collect();
        let (locks, refused, boots) = self.at_once(&nodes).await?;
        let Some(error) = refused else {
            return Ok(locks);
        };
        let half_way = !locks.held.is_empty();
        locks.release().await;
        if !half_way {
            return Err(error);
        }
        self.in_turn(in_order(nodes, &boots)).await
    }

    /// Asks all nodes side by side: what was had, why not all, and which boot each node is in.
    async fn at_once(&self, nodes: &[Node]) -> Result<AtOnce, Error> {
        let mut asking = JoinSet::new();
        for node in nodes {
            let (taking, node) = (self.clone(), node.clone());
            asking.spawn(async move {
                let taken = taking.take_one(&node).await;
                (node.name().clone(), taken)
            });
        }
        let (mut locks, mut refused, mut failed) = (Locks::default(), None, None);
        let mut boots = BTreeMap::new();
        while let Some(asked) = asking.join_next().await {
            let Ok((node, taken)) = asked else { continue };
            match taken {
                Ok((boot, taken)) => {
                    boots.insert(node.clone(), boot);
                    refused = locks.add(node, taken).or(refused);
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            None => Ok((locks, refused, boots)),
            Some(error) => {
                locks.release().await;
                Err(error)
            }
        }
    }

    /// Asks nodes one after another, until all are held or one refuses.
    async fn in_turn(&self, nodes: Vec<Node>) -> Result<Locks, Error> {
        let mut locks = Locks::default();
        for node in nodes {
            let refused = match self.take_one(&node).await {
                Ok((_, taken)) => locks.add(node.name().clone(), taken),
                Err(error) => Some(error),
            };
            if let Some(error) = refused {
                locks.release().await;
                return Err(error);
            }
        }
        Ok(locks)
    }

    /// Takes the lock of one node, also from a holder that is known to have ended. Returns the boot
    /// that the node is in too.
    async fn take_one(&self, node: &Node) -> Result<(String, Taken), Error> {
        let mut ended = None;
        loop {
            let (boot, answer) = self.ask(node, ended.as_ref()).await?;
            let holder = match answer {
                Answer::Held(held) => return Ok((boot, Taken::Held(Lease::over(held)))),
                Answer::Without(why) => return Ok((boot, Taken::Without(why))),
                Answer::Taken(holder) => holder,
            };
            if holder == self.holder {
                let why = "another node of this manifest has the same folder".to_owned();
                return Ok((boot, Taken::Without(why)));
            }
            let sign = holder.sign();
            if sign == Sign::Ended && ended.is_none() {
                let words = &holder.words;
                self.screen.note(&format!(
                    "{}: taking over the lock of {words}: that process has ended",
                    node.name()
                ));
                ended = holder.process;
                continue;
            }
            return Ok((boot, Taken::Refused(refused(node, holder, sign))));
        }
    }

    async fn ask(&self, node: &Node, ended: Option<&Process>) -> Result<(String, Answer), Error> {
        let unlockable = |why: String| {
            Error::refused(
                format!("{} cannot be locked: {why}", node.name()),
                "nothing was changed; a node needs a login shell that can `exec sh`",
            )
        };
        let held = node.hold(&self.command(ended)).await;
        let mut held = held.map_err(|error| unlockable(error.to_string()))?;
        let (mut boot, mut said) = (String::new(), Vec::new());
        while let Some(line) = held.next_line().await {
            match line.split_once(' ') {
                Some(("boot", told)) if said.is_empty() => told.clone_into(&mut boot),
                _ if line == "held" && said.is_empty() => return Ok((boot, Answer::Held(held))),
                _ => said.push(line),
            }
        }
        let answer = match (said.split_first(), held.complaint()) {
            (Some((_, lines)), _) => Answer::Taken(Holder::read(lines)),
            (None, Some(why)) => Answer::Without(why.to_owned()),
            (None, None) => return Err(unlockable("its shell did not answer".to_owned())),
        };
        Ok((boot, answer))
    }

    fn command(&self, ended: Option<&Process>) -> Command {
        let own = StateFolder::of(&self.topology);
        let [folder, binaries, logs, _] = own.folders();
        let emptied = [binaries, logs, folder].map(|one| quote_path(&one));
        let script = format!(
            "folder={} lock={} lease={LEASE}\nset -- {}\n{}",
            quote_path(StateFolder::of_all()),
            quote_path(&own.lock()),
            emptied.join(" "),
            include_str!("lock.sh")
        );
        let line = |process: Option<&Process>| process.map(Process::line).unwrap_or_default();
        Command::script(script)
            .with("holder", &self.holder.words)
            .with("process", &line(self.holder.process.as_ref()))
            .with("ended", &line(ended))
    }
}

/// What a node answers whose lock is asked for.
enum Answer {
    Held(Held),
    Without(String),
    Taken(Holder),
}

fn refused(node: &Node, holder: Holder, sign: Sign) -> Error {
    let end = match sign {
        Sign::Lives(pid) => format!("end it (`kill {pid}` on this machine)"),
        Sign::OutOfSight | Sign::Ended => "end it".to_owned(),
    };
    Error::Locked {
        node: node.name().to_string(),
        holder: holder.words,
        hint: format!(
            "wait for it (--lock-timeout 10m), or {end}: the lock goes with it, and within 30 s where its machine has gone \
             away"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{BufRead as _, BufReader, Lines, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

    /// The script, for a lock in this folder.
    fn script(folder: &Path, holder: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", include_str!("lock.sh")])
            .env("folder", folder.join("state"))
            .env("lock", folder.join("state/t.lock"))
            .env("holder", holder)
            .env("process", format!("process of {holder}"))
            .env("ended", "")
            .env("lease", "60")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What the script says where `flock` ends like this.
    fn said(flock: &str) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let tool = folder.path().join("flock");
        fs::write(&tool, format!("#!/bin/sh\n{flock}\n")).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        fs::write(folder.path().join("state/t.lock"), "ann@laptop, pid 7\n").unwrap();
        script(folder.path(), "us")
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What it says after its first line.
    fn answer(output: &Output) -> String {
        let text = String::from_utf8_lossy(&output.stdout);
        let (boot, rest) = text.split_once('\n').unwrap();
        assert!(boot.starts_with("boot "), "{boot}");
        rest.to_owned()
    }

    #[test]
    fn a_lock_that_nobody_can_have_is_held_by_nobody() {
        assert_eq!(answer(&said("exit 1")), "taken\nann@laptop, pid 7\n");
        let none = said("echo 'flock: 9: No locks available' >&2; exit 71");
        assert_eq!((answer(&none).as_str(), none.status.code()), ("", Some(1)));
        assert_eq!(none.stderr, b"flock: 9: No locks available\n");
        assert_eq!(answer(&said("true")), "held\n");
    }

    /// A script that holds the lock.
    struct Holding {
        script: Child,
        input: Option<ChildStdin>,
        said: Lines<BufReader<ChildStdout>>,
    }

    impl Holding {
        fn begin(command: &mut Command) -> Self {
            let mut script = command.spawn().unwrap();
            let said = BufReader::new(script.stdout.take().unwrap()).lines();
            let mut holding = Self {
                input: script.stdin.take(),
                script,
                said,
            };
            assert!(holding.hears().starts_with("boot "));
            holding
        }

        fn hears(&mut self) -> String {
            self.said.next().unwrap().unwrap()
        }

        fn ends(mut self) {
            drop(self.input.take());
            assert!(self.script.wait().unwrap().success());
        }
    }

    #[test]
    fn whoever_is_silent_for_too_long_has_lost_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let mut silent = Holding::begin(script(folder.path(), "ann").env("lease", "1"));
        assert_eq!(silent.hears(), "held");
        // It ends by itself, though its input is open still.
        assert_eq!(silent.hears(), "lapsed");
        let mut next = Holding::begin(&mut script(folder.path(), "bob"));
        assert_eq!(next.hears(), "held");
        writeln!(next.input.as_ref().unwrap(), "1").unwrap();
        assert_eq!(next.hears(), "1");
        let third = script(folder.path(), "eve").output().unwrap();
        let told = format!("taken\nbob\nprocess of bob\n{}\n", next.script.id());
        assert_eq!(answer(&third), told);
        next.ends();
        silent.ends();
        assert!(!folder.path().join("state").exists());
    }

    #[test]
    fn a_lock_is_taken_over_from_the_process_that_is_known_to_have_ended_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut left = Holding::begin(&mut script(folder.path(), "ann"));
        assert_eq!(left.hears(), "held");
        let other = script(folder.path(), "bob")
            .env("ended", "process of eve")
            .output()
            .unwrap();
        assert!(answer(&other).starts_with("taken\nann\n"));
        let mut next = script(folder.path(), "bob");
        let mut next = Holding::begin(next.env("ended", "process of ann"));
        assert_eq!(next.hears(), "held");
        assert!(!left.script.wait().unwrap().success(), "it was ended");
        next.ends();
    }

    #[test]
    fn folders_that_a_killed_run_left_empty_go_with_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("state/t");
        fs::create_dir_all(own.join("bin")).unwrap();
        fs::create_dir_all(own.join("run")).unwrap();
        let mut command = script(folder.path(), "us");
        command
            .arg("sh")
            .args([own.join("bin"), own.join("log"), own.clone()]);
        let mut held = Holding::begin(&mut command);
        assert_eq!(held.hears(), "held");
        held.ends();
        assert!(!own.join("bin").exists());
        assert!(own.join("run").exists(), "something may run in it");
    }

    /// The folder goes with the last lock in it, at any moment of whoever takes the next one.
    #[test]
    fn a_folder_that_goes_while_its_lock_is_taken_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("tools");
        fs::create_dir(&tools).unwrap();
        // The first folder is gone as soon as it is made.
        let mkdir = "#!/bin/sh\n/bin/mkdir \"$@\"\n[ -e \"$0.once\" ] || { : >\"$0.once\"; /bin/rmdir \"$folder\"; }\n";
        fs::write(tools.join("mkdir"), mkdir).unwrap();
        fs::set_permissions(tools.join("mkdir"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", tools.display());
        let mut held = Holding::begin(script(folder.path(), "us").env("PATH", path));
        assert_eq!(held.hears(), "held");
        held.ends();
        // Where it can never be made, the last try says why.
        File::create(folder.path().join("state")).unwrap();
        let never = script(folder.path(), "us").output().unwrap();
        assert_eq!(
            (answer(&never).as_str(), never.status.code()),
            ("", Some(1))
        );
        assert!(!never.stderr.is_empty());
    }
}
