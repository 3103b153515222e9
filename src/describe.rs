//! Errors in words, with the causes that many of them keep to themselves.

use std::error::Error;

/// An error with its causes, each told once: `client error (Connect): connection refused`.
pub fn describe(error: &dyn Error) -> String {
    let mut words = error.to_string();
    for cause in causes(error) {
        words.push_str(": ");
        words.push_str(&cause);
    }
    words
}

/// The causes of an error that say something new: many errors repeat their source in their own
/// words.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    for cause in std::iter::successors(error.source(), |cause| (*cause).source()) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            causes.push(cause.clone());
            said = cause;
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot observe spark-02")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("ssh: {0}")]
    struct Middle(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no answer in 10 s")]
    struct Inner;

    #[test]
    fn each_cause_is_told_once() {
        assert_eq!(
            describe(&Outer(Middle(Inner))),
            "cannot observe spark-02: ssh: no answer in 10 s"
        );
        assert_eq!(describe(&Inner), "no answer in 10 s");
    }
}
