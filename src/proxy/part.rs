//! What an instance is wanted for: a request, or a part of one.

use crate::plan::Role;

/// A part of a request's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, where each instance does all.
    #[default]
    Whole,
    /// All of it, where instances have roles: who writes answers for others does it best.
    Alone,
    /// To read the prompt.
    Prefill,
    /// To write the answer.
    Decode,
}

impl Part {
    /// Whether it is for an instance of this role.
    pub(super) fn is_for(self, role: Role) -> bool {
        match self {
            Self::Whole => true,
            Self::Alone | Self::Decode => role.decodes(),
            Self::Prefill => role.prefills(),
        }
    }

    /// Whether it is to read a prompt for another.
    pub(super) fn is_prefill(self) -> bool {
        self == Self::Prefill
    }
}
