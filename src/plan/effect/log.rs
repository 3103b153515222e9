//! Who understands the lines of a log.

use serde::Serialize;

/// The program whose words a log is written in. What reads them is [`crate::logs`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogReader {
    /// Nobody: its lines are kept for whoever has to look at them.
    #[default]
    None,
    /// vLLM, or what behaves as it does.
    Vllm,
    /// pip or uv, and the script around them.
    Installer,
    /// The tool of the Hugging Face hub, and the scripts around it.
    Hub,
    /// vLLM, asked whether it takes some arguments.
    Arguments,
}
