//! What a proxy on its own says when it begins.

use std::net::SocketAddr;

use super::error::{Kind, line};
use super::style::Style;
use crate::english::list;

/// What it serves by.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    /// The policy, as a manifest names it.
    pub policy: &'a str,
    /// The servers, by their names.
    pub servers: &'a [&'a str],
}

/// Renders where it listens and what it passes requests to; and that it has to believe who answers.
pub fn began(address: SocketAddr, serving: Serving<'_>, style: Style) -> String {
    let Serving { policy, servers } = serving;
    let to = list(servers);
    let said = format!("proxy on http://{address}: {policy} to {to}");
    let unproved = "nobody was proved: whoever listens on a server's port is served from, be it the \
                    server that you mean or another";
    style.hang(&said, 4).join("\n") + "\n" + &line(Kind::Warning, unproved, style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_where_and_to_whom_and_what_it_cannot_know() {
        let serving = Serving {
            policy: "round_robin",
            servers: &["10.0.0.7:8000", "10.0.0.8:8000"],
        };
        let said = began("127.0.0.1:8000".parse().unwrap(), serving, Style::plain());
        insta::assert_snapshot!(said, @"
        proxy on http://127.0.0.1:8000: round_robin to 10.0.0.7:8000 and 10.0.0.8:8000
        warning: nobody was proved: whoever listens on a server's port is served from, be it the server that you mean or another
        ");
    }
}
