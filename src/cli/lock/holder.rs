//! Who holds a lock, and whether that is known to have ended.

use std::fs;

/// Who holds a lock, as its file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holder {
    /// Who, where, and since when, for people.
    pub(super) words: String,
    /// Which process. Nothing where an older version wrote it, or where no process can be told.
    pub(super) process: Option<Process>,
}

/// A process of some machine, told apart from every other one: a pid alone is given out again, and
/// each container counts its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    boot: String,
    /// The space that its pid is of.
    space: String,
    pid: u32,
    /// When it started, in ticks of that boot.
    started: u64,
}

/// What is known of a process from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It is of another machine, boot or container.
    OutOfSight,
    /// It lives, and has this pid.
    Lives(u32),
    Ended,
}

impl Holder {
    /// This process, from now on.
    pub(super) fn new() -> Self {
        let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
        let host = rustix::system::uname();
        let words = format!(
            "{user}@{}, pid {}, since {}",
            host.nodename().to_string_lossy(),
            std::process::id(),
            jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC"),
        );
        Self {
            words,
            process: Process::this(),
        }
    }

    /// Reads what a lock's file says. Whoever took it only just now may not have written yet.
    pub(super) fn read(lines: &[String]) -> Self {
        let words = lines.first().filter(|line| !line.trim().is_empty());
        Self {
            words: words
                .map_or("it has not said yet whose", |it| it)
                .to_owned(),
            process: lines.get(1).and_then(|line| Process::read(line)),
        }
    }

    /// What is known of it from here.
    pub(super) fn sign(&self) -> Sign {
        let process = self.process.as_ref();
        process.map_or(Sign::OutOfSight, |it| {
            it.seen_from(Process::this().as_ref())
        })
    }
}

impl Process {
    /// This process. Nothing where the machine does not tell.
    fn this() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let space = fs::read_link("/proc/self/ns/pid").ok()?;
        let pid = std::process::id();
        Some(Self {
            boot: boot.trim().to_owned(),
            space: space.to_string_lossy().into_owned(),
            pid,
            started: started(pid)?,
        })
    }

    /// The line that a lock's file has of it.
    pub(super) fn line(&self) -> String {
        let Self {
            boot,
            space,
            pid,
            started,
        } = self;
        format!("{boot} {space} {pid} {started}")
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut word = || words.next().filter(|word| !word.is_empty());
        Some(Self {
            boot: word()?.to_owned(),
            space: word()?.to_owned(),
            pid: word()?.parse().ok()?,
            started: word()?.parse().ok()?,
        })
    }

    fn seen_from(&self, here: Option<&Process>) -> Sign {
        let is_in_sight =
            here.is_some_and(|here| (&here.boot, &here.space) == (&self.boot, &self.space));
        match is_in_sight {
            false => Sign::OutOfSight,
            true if started(self.pid) == Some(self.started) => Sign::Lives(self.pid),
            true => Sign::Ended,
        }
    }
}

/// When a process of this machine started. Nothing where there is none that lives.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets; what follows the last one does not.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_what_its_line_says() {
        let this = Process::this().unwrap();
        assert_eq!(Process::read(&this.line()), Some(this));
        for line in ["", "one", "boot space x 1", "boot space 1 "] {
            assert_eq!(Process::read(line), None, "{line}");
        }
        // An older version wrote words alone.
        let old = Holder::read(&["ann@laptop, pid 7, since noon".to_owned()]);
        assert_eq!(
            (old.words.as_str(), old.sign()),
            ("ann@laptop, pid 7, since noon", Sign::OutOfSight)
        );
        assert_eq!(Holder::read(&[]).words, "it has not said yet whose");
    }

    /// Only what is seen from here can be known to have ended.
    #[test]
    fn a_holder_that_has_ended_is_told_from_one_that_is_elsewhere() {
        let this = Process::this().unwrap();
        let seen = |process: &Process| process.seen_from(Some(&this));
        assert_eq!(seen(&this), Sign::Lives(std::process::id()));
        let mut child = Command::new("true").spawn().unwrap();
        let dead = Process {
            pid: child.id(),
            ..this.clone()
        };
        child.wait().unwrap();
        assert_eq!(seen(&dead), Sign::Ended);
        let reused = Process {
            started: this.started + 1,
            ..this.clone()
        };
        assert_eq!(seen(&reused), Sign::Ended);
        let elsewhere = [
            Process {
                boot: "other".to_owned(),
                ..dead.clone()
            },
            Process {
                space: "pid:[1]".to_owned(),
                ..dead.clone()
            },
        ];
        for process in &elsewhere {
            assert_eq!(seen(process), Sign::OutOfSight);
        }
        assert_eq!(dead.seen_from(None), Sign::OutOfSight);
    }
}
