//! Why results tell no profile, in words for who asked.

use std::fmt;

/// Why results tell no profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CannotFit {
    /// It cannot be believed, by these rules.
    NotBelieved {
        /// The result's file.
        file: String,
        /// The rules that speak against it.
        rules: Vec<String>,
    },
    /// It does not tell what its servers run.
    Unknown {
        /// The result's file.
        file: String,
    },
    /// One instance has read prompts for another.
    Split {
        /// The result's file.
        file: String,
    },
    /// Its requests do not lie beside it, whole.
    NoRequests {
        /// The result's file.
        file: String,
    },
    /// Prompts were in a cache.
    Cached {
        /// The result's file.
        file: String,
    },
    /// Two servers are unlike each other.
    Unlike {
        /// What is another.
        what: &'static str,
        /// The one.
        one: (String, String),
        /// The other.
        other: (String, String),
    },
    /// The simulator does not take the arguments.
    NotSimulated {
        /// The result's file.
        file: String,
        /// Why.
        why: String,
    },
    /// None of them has a time.
    NoTimes,
}

impl CannotFit {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotBelieved { .. } => {
                "measure again what the rules speak against, and leave this one out"
            }
            Self::Unknown { .. } => "measure servers that a manifest declares, and not a URL",
            Self::Split { .. } => {
                "measure instances that read and write: `role: both`, or an `endpoint` of one"
            }
            Self::NoRequests { .. } => "keep the `.requests.jsonl` beside the result that it is of",
            Self::Cached { .. } => {
                "measure prompts that share nothing: without `shared_prefix`, a trace or `cache: allow`"
            }
            Self::Unlike { .. } => {
                "name the results of one engine alone: each has a profile of its own"
            }
            Self::NotSimulated { .. } => "a profile is of what the simulator has, too",
            Self::NoTimes => "measure answers of several tokens",
        }
    }
}

impl fmt::Display for CannotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBelieved { file, rules } => {
                let rules = rules.join(", ");
                write!(
                    f,
                    "{file} cannot be believed ({rules}): nothing is fitted to it"
                )
            }
            Self::Unknown { file } => write!(f, "{file} does not tell what its servers run"),
            Self::Split { file } => write!(
                f,
                "{file} is of instances that read prompts for others: whose time is whose it does not tell"
            ),
            Self::NoRequests { file } => {
                write!(f, "the requests of {file} do not lie beside it, whole")
            }
            Self::Cached { file } => {
                write!(
                    f,
                    "prompts of {file} were in a cache: how much was read is not known"
                )
            }
            Self::Unlike { what, one, other } => write!(
                f,
                "not one {what}: {} has {}, and {} has {}",
                one.0, one.1, other.0, other.1
            ),
            Self::NotSimulated { file, why } => write!(f, "{file} cannot be simulated: {why}"),
            Self::NoTimes => f.write_str("the results have no times to fit anything to"),
        }
    }
}

impl std::error::Error for CannotFit {}
