//! Secrets of whoever runs `replica`: variables of this machine's environment.

/// What a variable holds; nothing where it is not set, or empty. An empty secret is a slip, and an
/// empty key would let everybody in.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
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
