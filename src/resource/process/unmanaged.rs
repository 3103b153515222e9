//! vLLM that carries no mark: whose it is, and which processes make up one server.

use std::collections::BTreeMap;

use super::one::Process;

/// A process of vLLM that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmanagedProcess {
    /// The process.
    pub process: Process,
    /// The process that started it, or that took it over.
    pub parent: u32,
    /// Whether whoever started it is gone: its parent is in another session than itself.
    pub orphaned: bool,
    /// Whose it is.
    pub ownership: Ownership,
}

/// Whose a process is, as far as we may end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It is of the user that we are logged in as.
    Own,
    /// It is of another user.
    OtherUser,
    /// It is in a container, or else in a process space of its own.
    Container,
}

/// A vLLM server that is not ours, or what is left of one: processes that come to an end together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmanagedServer {
    /// The process that the others were started by.
    pub root: Process,
    /// The others, in the order of pids.
    pub parts: Vec<Process>,
}

impl UnmanagedServer {
    /// All of its processes, its root first.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.root).chain(&self.parts)
    }

    /// Gathers the servers of this user.
    ///
    /// A server is known by what it runs. A part of one, such as `VLLM::EngineCore`, is taken with
    /// its server, or once whoever started it is gone: the engine of a program that lives, of a
    /// notebook say, is no server's.
    pub fn gather(unmanaged: &[UnmanagedProcess]) -> Vec<Self> {
        let own = unmanaged.iter().filter(|it| it.ownership == Ownership::Own);
        let own: BTreeMap<u32, &UnmanagedProcess> = own.map(|it| (it.process.pid, it)).collect();
        let mut servers: BTreeMap<u32, Self> = BTreeMap::new();
        for it in own.values() {
            let Some(root) = root_of(it, &own) else {
                continue;
            };
            let server = servers.entry(root.process.pid).or_insert_with(|| Self {
                root: root.process.clone(),
                parts: Vec::new(),
            });
            if it.process != server.root {
                server.parts.push(it.process.clone());
            }
        }
        servers.into_values().collect()
    }
}

/// The first of its ancestors, itself among them, that may come to an end with all below it.
fn root_of<'a>(
    it: &'a UnmanagedProcess,
    own: &BTreeMap<u32, &'a UnmanagedProcess>,
) -> Option<&'a UnmanagedProcess> {
    let parent = |it: &&'a UnmanagedProcess| own.get(&it.parent).copied();
    // What is half-written may go in circles.
    let line = std::iter::successors(Some(it), parent).take(own.len());
    line.filter(|it| it.is_root()).last()
}

impl UnmanagedProcess {
    fn is_root(&self) -> bool {
        is_server(&self.process) || (self.orphaned && is_part(&self.process))
    }
}

/// Whether a process is one of vLLM, and not an editor or a `tail` with the word in its
/// command line.
pub(super) fn is_vllm(process: &Process) -> bool {
    is_part(process) || program(process).is_some()
}

/// Whether a process serves: `vllm bench` and the like do not.
fn is_server(process: &Process) -> bool {
    let serves = |(program, first): (&str, &str)| match program {
        "vllm" | "vllm.entrypoints.cli.main" => first == "serve",
        module => module.ends_with(".api_server"),
    };
    program(process).is_some_and(serves)
}

/// Whether a process has the title of a part, such as `VLLM::EngineCore`.
fn is_part(process: &Process) -> bool {
    process.name.starts_with("VLLM::")
}

/// What of vLLM a process runs, the command or a module, and the first argument of that.
fn program(process: &Process) -> Option<(&str, &str)> {
    let mut words = process.command.split(' ').filter(|word| !word.is_empty());
    let mut word = base(words.next()?);
    if word.starts_with("python") {
        word = words.find(|word| !is_flag(word))?;
        if word == "-m" {
            let module = words.next().filter(|word| word.starts_with("vllm."))?;
            return Some((module, words.next().unwrap_or_default()));
        }
    }
    (base(word) == "vllm").then(|| ("vllm", words.next().unwrap_or_default()))
}

/// Whether a word is an option of Python's that takes no word of its own.
fn is_flag(word: &str) -> bool {
    let flags = word.strip_prefix('-').unwrap_or_default();
    !flags.is_empty() && flags.chars().all(|flag| "bBdEiIOPqRsSuvx".contains(flag))
}

fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, name: &str, command: &str) -> Process {
        Process {
            pid,
            name: name.to_owned(),
            command: command.to_owned(),
            ..Process::default()
        }
    }

    #[test]
    fn a_word_in_a_command_line_makes_no_vllm() {
        let is = |name: &str, command: &str| is_vllm(&process(1, name, command));
        for (name, command) in [
            (
                "vllm",
                "/venv/bin/python /venv/bin/vllm serve llama --port 8100",
            ),
            ("vllm", "/venv/bin/python3.12 -u /venv/bin/vllm serve llama"),
            ("python3", "python3 -m vllm.entrypoints.openai.api_server"),
            ("VLLM::EngineCor", "VLLM::EngineCore"),
            ("vllm", "vllm serve x"),
            ("vllm", "/venv/bin/python /venv/bin/vllm bench serve"),
        ] {
            assert!(is(name, command), "{command}");
        }
        for (name, command) in [
            ("vim", "vim vllm_notes.md"),
            ("vim", "vim /venv/bin/vllm serve"),
            ("tail", "tail -f /tmp/vllm_node1.log"),
            ("grep", "grep -v VLLM::EngineCore"),
            ("bash", "bash -c pgrep -f \"vllm\" | head -5"),
            ("bash", "bash -c vllm serve x"),
            ("python3", "python3 train.py --out vllm"),
            ("python3", "python3 -c import time vllm serve"),
            (
                "python3",
                "python3 -m pytest -m vllm.entrypoints.openai.api_server",
            ),
        ] {
            assert!(!is(name, command), "{command}");
        }
    }

    #[test]
    fn only_what_serves_is_a_server() {
        let serves = |command: &str| is_server(&process(1, "vllm", command));
        assert!(serves("/venv/bin/python /venv/bin/vllm serve llama"));
        assert!(serves(
            "python3 -m vllm.entrypoints.openai.api_server --port 1"
        ));
        assert!(serves("python3 -m vllm.entrypoints.cli.main serve llama"));
        assert!(!serves("/venv/bin/python /venv/bin/vllm bench serve"));
        assert!(!serves("/venv/bin/python /venv/bin/vllm"));
        assert!(!serves("python3 -m vllm.entrypoints.openai.run_batch"));
    }

    /// The servers, each as its root and its parts.
    fn gathered(unmanaged: &[(u32, u32, bool, Ownership, &str)]) -> Vec<(u32, Vec<u32>)> {
        let unmanaged = unmanaged
            .iter()
            .map(|&(pid, parent, orphaned, ownership, name)| {
                let command = format!("{name} serve x");
                let process = process(pid, name, &command);
                UnmanagedProcess {
                    process,
                    parent,
                    orphaned,
                    ownership,
                }
            });
        let servers = UnmanagedServer::gather(&unmanaged.collect::<Vec<_>>());
        let pids = |server: &UnmanagedServer| server.parts.iter().map(|part| part.pid).collect();
        servers.iter().map(|it| (it.root.pid, pids(it))).collect()
    }

    #[test]
    fn parts_go_with_their_server_wherever_their_pids_stand() {
        use Ownership::Own;
        let family = [
            (10, 30, false, Own, "VLLM::Worker_TP0"),
            (20, 1, true, Own, "vllm"),
            (30, 20, false, Own, "VLLM::EngineCor"),
        ];
        assert_eq!(gathered(&family), [(20, vec![10, 30])]);
        // Its API server is gone.
        let orphans = [
            (10, 30, false, Own, "VLLM::Worker_TP0"),
            (30, 1, true, Own, "VLLM::EngineCor"),
        ];
        assert_eq!(gathered(&orphans), [(30, vec![10])]);
    }

    #[test]
    fn what_is_not_of_this_user_or_no_server_is_nobodys_to_take() {
        use Ownership::{Container, OtherUser, Own};
        let unmanaged = [
            (10, 1, true, OtherUser, "vllm"),
            (11, 10, false, OtherUser, "VLLM::EngineCor"),
            (20, 1, true, Container, "vllm"),
            // Of a notebook.
            (30, 5, false, Own, "VLLM::EngineCor"),
            (31, 30, false, Own, "VLLM::Worker_TP0"),
            // Half-written.
            (40, 41, false, Own, "VLLM::Worker_TP0"),
            (41, 40, false, Own, "VLLM::Worker_TP0"),
        ];
        assert_eq!(gathered(&unmanaged), []);
    }
}
