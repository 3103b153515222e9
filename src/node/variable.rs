//! Secrets of whoever runs `replica`: variables of this machine's environment.

use crate::redact::strike;

/// What a variable holds; nothing where it is not set, or empty. An empty secret is a slip, and an
/// empty key would let everybody in.
///
/// From then on it is struck out of everything that is said and kept, whoever says it.
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    strike(&value);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_holds_nothing() {
        assert_eq!(variable("REPLICA_TEST_NOT_SET"), None);
        assert!(variable("PATH").is_some());
    }
}
