//! Why a change is planned: a code for machines, words for people, and what to do about it.

use std::fmt;

use serde::{Serialize, Serializer};

/// Why a change is planned. Deciding never branches on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A stable word, for machines.
    pub code: ReasonCode,
    /// The reason in a reader's terms: a fragment, lower case, no full stop.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Reason {
    /// A reason with nothing to do about it but the plan itself.
    pub fn new(code: ReasonCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            hint: None,
        }
    }

    /// The reason of what waits for a node that did not answer.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self::new(ReasonCode::Unreachable, text)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Defines the codes from one table: each with the word that machines read, and what it means.
macro_rules! codes {
    ($($variant:ident $word:literal $meaning:literal,)+) => {
        /// Why a change is planned, as one stable word. Words are added and never taken away.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonCode {
            $(#[doc = $meaning] $variant,)+
        }

        impl ReasonCode {
            /// All codes, in the order of their words.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word that a machine reads.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// What it means, for documentation.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)+
                }
            }
        }
    };
}

codes! {
    Absent "absent" "there is none, or none yet",
    Asked "asked" "somebody asked for it by a command",
    Differs "differs" "what is there is not what is declared",
    DiskFull "disk_full" "the node's disk has no room for it",
    Duplicate "duplicate" "it is there more than once, or is not whole",
    ForwardingForbidden "forwarding_forbidden" "the node's sshd lets nobody through to its port",
    Gone "gone" "it was there, and its process has ended",
    Incomplete "incomplete" "an installation was interrupted",
    Invalid "invalid" "the newest result cannot be believed",
    LastServing "last_serving" "it is the last that serves, and clients would be left with nobody",
    LittleToPin "little_to_pin" "a process of its node may pin less memory than is handed over by RDMA",
    MemoryHeld "memory_held" "who holds the memory that it lacks",
    Moves "moves" "it is declared on another node than it runs on",
    NeedBlocked "need_blocked" "something that it needs is blocked",
    NoAddress "no_address" "nobody reaches its node by the address that it is to listen on",
    NoBinary "no_binary" "no program of this system is at hand here",
    NoCommand "no_command" "a command of the installation is missing",
    NoCompiler "no_compiler" "the node lacks a compiler that it needs",
    NoFile "no_file" "a file that is named cannot be read where it should be",
    NoGpu "no_gpu" "the GPUs of its node cannot be asked",
    NoHeaders "no_headers" "the node lacks the headers of its Python",
    NoInstaller "no_installer" "the node lacks what is to install",
    NoInterpreter "no_interpreter" "the Python of the environment is gone",
    NoMemory "no_memory" "the node's memory does not suffice",
    NoTool "no_tool" "the node lacks a tool that is needed for whatever is done there",
    NotCached "not_cached" "the cache lacks something of the model",
    NotExecutable "not_executable" "its file system runs no programs",
    NotInstalled "not_installed" "a declared package is not installed",
    NotLocked "not_locked" "nobody can have the lock on its node",
    NotReady "not_ready" "it runs, and was not seen to serve",
    NotRouted "not_routed" "it serves, and the proxy does not send it requests",
    NotSupervised "not_supervised" "no systemd can look after it on its node, or start it again after a reboot",
    NotWritable "not_writable" "this user may not write where it belongs",
    Orphaned "orphaned" "its leader is gone and left processes behind",
    OtherCuda "other_cuda" "it is built for another CUDA than the rest",
    OtherFolder "other_folder" "something else is in the place where it belongs",
    OtherPath "other_path" "its model lies elsewhere than that of an instance that it shares requests with",
    OtherVersion "other_version" "another version of a declared package is installed",
    PortTaken "port_taken" "the port is held by something that stays",
    SecretMissing "secret_missing" "a variable of this machine's environment is not set",
    SharedFolder "shared_folder" "two nodes of the manifest have one folder of ours",
    Silent "silent" "it runs, and does not answer",
    Stale "stale" "a server of somebody else that is to be stopped",
    StartedAgain "started_again" "systemd has started it again since it was seen to serve",
    Undeclared "undeclared" "it is ours, and the manifest does not name it",
    UnknownArgument "unknown_argument" "this version of vLLM knows no such argument",
    UnknownModel "unknown_model" "what is installed knows no model of this type",
    Unreachable "unreachable" "a node did not answer: what runs there is unknown",
    UntrustedCode "untrusted_code" "the model brings code that its server is not told to run",
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for ReasonCode {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.word())
    }
}

/// Writes the reasons of a change. A hint stands with its reason; and for one more version it also
/// stands where it stood before there were hints, as a reason of its own at the end.
pub(super) fn with_advice<S: Serializer>(reasons: &[Reason], out: S) -> Result<S::Ok, S::Error> {
    let advice = reasons.iter().filter_map(|reason| {
        let code = match reason.code {
            ReasonCode::NoMemory => "free_memory",
            _ => "advice",
        };
        let text = reason.hint.as_deref()?;
        Some(Written::Advice { code, text })
    });
    out.collect_seq(reasons.iter().map(Written::Reason).chain(advice))
}

#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Reason(&'a Reason),
    Advice { code: &'static str, text: &'a str },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Action, Change};

    #[test]
    fn each_code_has_its_own_word_and_they_are_in_order() {
        let words: Vec<_> = ReasonCode::ALL.iter().map(|code| code.word()).collect();
        assert!(words.is_sorted_by(|one, next| one < next), "{words:?}");
        assert_eq!(json!(ReasonCode::NoMemory), json!("no_memory"));
    }

    #[test]
    fn a_hint_is_written_with_its_reason_and_where_it_used_to_be() {
        let reasons = |code| vec![Reason::new(code, "why").hinted("do this")];
        let written = |code| {
            let address = "n/engine.e".parse().unwrap();
            json!(Change::new(&address, Action::Blocked, reasons(code)))["reasons"].clone()
        };
        assert_eq!(
            written(ReasonCode::OtherFolder),
            json!([{"code": "other_folder", "text": "why", "hint": "do this"},
                   {"code": "advice", "text": "do this"}])
        );
        assert_eq!(written(ReasonCode::NoMemory)[1]["code"], "free_memory");
    }
}
