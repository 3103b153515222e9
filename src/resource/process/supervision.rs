//! What can look after processes on a node, and the units of ours that are there.
//!
//! A unit is known by the mark that stands in it, as a process is by the mark that it carries: a process
//! with a mark of which there is a unit is looked after by systemd.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mark::Mark;
use crate::name::NodeName;
use crate::node::SecretsPolicy;
use crate::plan::{Address, Reason, ReasonCode};
use crate::resource::facts::{Fact, Facts};

const ID: &str = "supervision";

/// The fact that a [`Supervision`] is read from.
pub(in crate::resource) fn fact() -> Fact {
    Fact::new(ID, include_str!("supervision.sh"))
}

/// What a node has that could look after processes. What it did not tell is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supervision {
    has_systemd: bool,
    /// Whether the systemd of the user runs.
    has_manager: bool,
    /// Whether that goes on without a login.
    lingers: bool,
    /// Whether its user may have it go on without a login.
    may_linger: bool,
    user: String,
    /// The units of ours, of whichever topology, by their names.
    units: BTreeMap<String, FoundUnit>,
}

/// A unit of ours that a node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundUnit {
    /// The mark of what it starts.
    pub mark: Mark,
    /// What systemd says of it, where it does.
    pub state: Option<UnitState>,
    /// Where its secrets lie, where it has some.
    pub secrets: Option<SecretsPolicy>,
}

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `running`, `auto-restart`, `failed`, `dead`.
    pub sub: String,
    /// How its last start ended: `success`, `signal`, `exec-condition`.
    pub result: String,
}

impl Supervision {
    /// Reads [`fact`].
    pub fn read(facts: &Facts) -> Arc<Self> {
        facts.parsed(|facts| {
            let mut found = Self::default();
            for line in facts.get(ID).lines() {
                let line = line.trim_end();
                let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
                let _ = found.take(word, rest);
            }
            found
        })
    }

    fn take(&mut self, word: &str, rest: &str) -> Option<()> {
        match word {
            "systemd" => self.has_systemd = true,
            "manager" => self.has_manager = true,
            "lingers" => self.lingers = true,
            "may-linger" => self.may_linger = true,
            "user" => rest.clone_into(&mut self.user),
            "unit" => {
                let (name, mark) = rest.split_once(' ')?;
                let mark = mark.parse().ok()?;
                let unit = FoundUnit {
                    mark,
                    state: None,
                    secrets: None,
                };
                self.units.insert(name.to_owned(), unit);
            }
            "secrets" => {
                let (name, place) = rest.split_once(' ')?;
                self.units.get_mut(name)?.secrets = match place {
                    "disk" => Some(SecretsPolicy::Disk),
                    "memory" => Some(SecretsPolicy::Memory),
                    _ => None,
                };
            }
            "state" => {
                let mut words = rest.split(' ');
                let unit = self.units.get_mut(words.next()?)?;
                unit.state = Some(UnitState {
                    sub: words.next()?.to_owned(),
                    result: words.next()?.to_owned(),
                });
            }
            _ => {}
        }
        Some(())
    }

    /// Whether systemd looks after what has this mark.
    pub fn looks_after(&self, mark: &Mark) -> bool {
        self.units.values().any(|unit| unit.mark == *mark)
    }

    /// Where the secrets of the unit with this mark lie, where it has some.
    pub fn secrets_of(&self, mark: &Mark) -> Option<SecretsPolicy> {
        let mut units = self.units.values();
        units.find(|unit| unit.mark == *mark)?.secrets
    }

    /// The units of a topology.
    pub fn units_of<'a>(&'a self, topology: &'a str) -> impl Iterator<Item = &'a FoundUnit> {
        let units = self.units.values();
        units.filter(move |unit| unit.mark.topology == topology)
    }

    /// The newest unit of a thing.
    pub fn unit_of(&self, topology: &str, address: &Address) -> Option<&FoundUnit> {
        let prefix = Mark::prefix(topology, address);
        let units = self.units.values();
        let units = units.filter(|unit| unit.mark.of_thing() == prefix);
        units.max_by_key(|unit| unit.mark.generation)
    }

    /// Whether there is a systemd at all.
    pub fn has_systemd(&self) -> bool {
        self.has_systemd
    }

    /// The user whose systemd would end with the last login, and who may have it go on.
    pub fn can_begin_to_linger(&self) -> Option<&str> {
        let can = self.has_systemd && !self.lingers && self.may_linger;
        can.then_some(self.user.as_str())
    }

    /// Why no systemd can look after what is started on this node, if none can.
    pub fn unusable(&self, node: &NodeName) -> Option<Reason> {
        let user = &self.user;
        let (text, hint) = match (self.has_systemd, self.lingers, self.has_manager) {
            (false, _, _) => (
                format!("there is no systemd on {node}"),
                "leave `supervisor: systemd` out for that node".to_owned(),
            ),
            (_, false, _) => (
                format!("the systemd of {user} on {node} ends with the last login"),
                if self.may_linger {
                    "with `supervisor: systemd` for that node, an apply makes it linger".to_owned()
                } else {
                    format!("`loginctl enable-linger {user}` there keeps it")
                },
            ),
            (_, _, false) => (
                format!("the systemd of {user} on {node} does not run"),
                "`systemctl start user@$(id -u)` there, as root, starts it".to_owned(),
            ),
            (true, true, true) => return None,
        };
        Some(Reason::new(ReasonCode::NotSupervised, text).hinted(hint))
    }
}

impl FoundUnit {
    /// What becomes of it, where its process is gone: a part of a sentence.
    pub fn fate(&self) -> Option<String> {
        let state = self.state.as_ref()?;
        Some(match (state.sub.as_str(), state.result.as_str()) {
            ("auto-restart" | "condition" | "start-pre", _) => {
                "systemd is about to start it again".to_owned()
            }
            (_, "exec-condition") => {
                "systemd has given it up, for the reason that its log ends with".to_owned()
            }
            ("failed", _) => "systemd has given it up".to_owned(),
            _ => return None,
        })
    }
}

/// What the unit of one start of a thing is called, without `.service`.
pub(super) fn unit_name(topology: &str, address: &Address, generation: u64) -> String {
    format!("replica-{topology}-{}.{generation}", address.local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> Supervision {
        let facts: Facts = [(ID.to_owned(), answer.to_owned())].into_iter().collect();
        Supervision::read(&facts).as_ref().clone()
    }

    fn unusable(answer: &str) -> String {
        let node = "spark-01".parse().unwrap();
        let reason = read(answer).unusable(&node);
        reason.map_or_else(String::new, |it| {
            format!("{}: {}", it.text, it.hint.unwrap())
        })
    }

    #[test]
    fn what_it_takes_is_told() {
        let all = "systemd\nuser nvidia\nlingers\nmanager\n";
        assert_eq!(unusable(all), "");
        assert_eq!(unusable(&all.replace('\n', "\r\n")), "");
        insta::assert_snapshot!(unusable(""), @"there is no systemd on spark-01: leave `supervisor: systemd` out for that node");
        insta::assert_snapshot!(unusable(&all.replace("lingers\n", "")), @"the systemd of nvidia on spark-01 ends with the last login: `loginctl enable-linger nvidia` there keeps it");
        insta::assert_snapshot!(unusable(&all.replace("manager\n", "")), @"the systemd of nvidia on spark-01 does not run: `systemctl start user@$(id -u)` there, as root, starts it");
    }

    #[test]
    fn units_are_known_by_their_marks() {
        let found = read(
            "systemd\nunit replica-t-instance.a.1 v1:t:instance/a:1:ff\n\
             unit replica-t-instance.a.10 v1:t:instance/a:10:ff\nunit x half\n\
             state replica-t-instance.a.10 failed signal\nstate replica-x dead success\n\
             secrets replica-t-instance.a.1 disk\nsecrets replica-t-instance.a.10 memory\nsecrets replica-x disk\n",
        );
        let address = "n/instance.a".parse().unwrap();
        let newest = found.unit_of("t", &address).unwrap();
        assert_eq!(newest.mark.generation, 10);
        insta::assert_snapshot!(newest.fate().unwrap(), @"systemd has given it up");
        assert!(found.looks_after(&newest.mark));
        assert_eq!(found.secrets_of(&newest.mark), Some(SecretsPolicy::Memory));
        let first = "v1:t:instance/a:1:ff".parse().unwrap();
        assert_eq!(found.secrets_of(&first), Some(SecretsPolicy::Disk));
        assert_eq!(found.units_of("t").count(), 2);
        assert_eq!(found.units_of("x").count(), 0);
        assert_eq!(found.unit_of("t", &"n/instance.b".parse().unwrap()), None);
        assert_eq!(unit_name("t", &address, 3), "replica-t-instance.a.3");
    }

    /// This very script, on this machine: whatever it has, it says so without an error.
    #[test]
    fn this_machine_says_what_it_has() {
        let output = std::process::Command::new("sh")
            .args(["-c", include_str!("supervision.sh")])
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        let has = read(&String::from_utf8_lossy(&output.stdout)).has_systemd();
        assert_eq!(has, std::path::Path::new("/run/systemd/system").is_dir());
    }
}
