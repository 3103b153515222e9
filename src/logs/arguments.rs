//! What vLLM says of its arguments when it is asked before a start: that it refuses them, and why.

use super::LogSign;
use crate::plan::Failure;

/// Reads one line of `accept.py`, or of what runs it.
pub(super) fn read(line: &str) -> Option<LogSign> {
    if let Some(outcome) = line.strip_prefix("outcome: ") {
        return Some(LogSign::Outcome(outcome.to_owned()));
    }
    let why = line.strip_prefix("refused: ")?;
    let failure = Failure::new(format!("vLLM refuses its arguments: {why}"));
    let hint = "nothing was stopped for it: change the instance's `args`, and apply again";
    Some(LogSign::Cause(failure.hinted(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_cause_and_all_else_is_noise() {
        let Some(LogSign::Cause(cause)) = read("refused: argument --dtype: invalid choice: 'bf16'")
        else {
            panic!("it is one");
        };
        assert_eq!(
            cause.message,
            "vLLM refuses its arguments: argument --dtype: invalid choice: 'bf16'"
        );
        assert_eq!(
            read("outcome: could not be asked"),
            Some(LogSign::Outcome("could not be asked".to_owned()))
        );
        assert_eq!(read("ValueError: refused: x"), None);
    }
}
