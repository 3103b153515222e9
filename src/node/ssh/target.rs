//! Which host is meant, before it is known how it is reached.

/// A host as the manifest, or a `ProxyJump`, names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Target {
    /// Reads one host of a `ProxyJump`: `user@host:port`, or the same as an `ssh://` address.
    pub(super) fn jump(text: &str) -> Option<Self> {
        let text = text.strip_prefix("ssh://").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        match text.parse() {
            Ok(crate::node::Reach::Ssh { user, host, port }) => Some(Self { user, host, port }),
            // A jump host may well be called `local`.
            Ok(crate::node::Reach::Local) => Some(Self {
                user: None,
                host: text.to_owned(),
                port: None,
            }),
            Err(_) => None,
        }
    }
}
