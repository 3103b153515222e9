//! A process, whoever it belongs to.

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number, good only together with its start and the boot.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
    /// Its short name.
    pub name: String,
    /// Whose it is, where that could be seen.
    pub user: String,
    /// Its command line, cut to a readable length.
    pub command: String,
}
