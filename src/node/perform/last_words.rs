//! What a process said before it was gone.

use crate::logs::grammar;
use crate::node::{Command, Node, quote_path};
use crate::plan::Failure;
use crate::plan::effect::Launch;

use super::log::Tail;

/// As much of the end of a log as is read, in bytes.
const MOST: usize = 256 << 10;

/// Why the process that was started so is gone: the cause that its log names, and its last lines.
///
/// # Errors
///
/// When its log cannot be read.
pub async fn last_words(node: &Node, launch: &Launch) -> Result<Failure, Failure> {
    let script = format!("tail -c {MOST} -- {}", quote_path(&launch.log));
    let output = node.run(&Command::script(script)).await?;
    if !output.success() {
        return Err(Failure::new(output.complaint()));
    }
    let mut tail = Tail::new(grammar(launch.log_reader));
    for line in output.text().lines() {
        let _ = tail.take(line);
    }
    Ok(tail.failure("its process is gone, and its log does not say why".to_owned()))
}
