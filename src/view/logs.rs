//! Logs of things, line by line.

use jiff::Timestamp;
use serde::Serialize;

use super::style::{Role, Style};
use super::words::{columns, last_drawn};
use crate::name::NodeName;
use crate::plan::Address;
use crate::visible::{visible_in_colour, visible_on_one_line, without_colours};

/// A line of the log of a thing. Serialised, it is a line of `logs --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedLine {
    /// The thing.
    pub address: Address,
    /// Its node.
    pub node: NodeName,
    /// Which of its starts wrote it.
    pub generation: u64,
    /// What it says, without colours.
    pub line: String,
    /// When it was written, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

impl LoggedLine {
    /// A line as it was written.
    pub fn new(address: Address, node: NodeName, generation: u64, written: &str) -> Self {
        let line = without_colours(written).into_owned();
        Self {
            address,
            node,
            generation,
            line,
            time: None,
        }
    }
}

/// Renders a line as it was written. `named` is the address that goes before it, and how many columns
/// all of those take. Colours of letters stay where this stream has some.
pub fn render(written: &str, named: Option<(&Address, usize)>, style: Style) -> String {
    let drawn = last_drawn(written);
    let text = if style.colour {
        visible_in_colour(drawn)
    } else {
        visible_on_one_line(&without_colours(drawn).replace('\t', "    ")).into_owned()
    };
    match named {
        None => format!("{text}\n"),
        Some((address, width)) => {
            let name = address.to_string();
            let padding = " ".repeat(width.saturating_sub(columns(&name)));
            let bar = style.paint(Role::Faint, &format!("{name}{padding} |"));
            format!("{bar} {text}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "\x1b[0;36m(EngineCore pid=7)\x1b[0;0m \x1b[2Ja\u{202e}\tb";

    #[test]
    fn a_line_stands_behind_its_address() {
        let address: Address = "spark-01/instance.a".parse().unwrap();
        let render = |width| render(WRITTEN, Some((&address, width)), Style::plain());
        assert_eq!(
            render(24),
            "spark-01/instance.a      | (EngineCore pid=7) \\x1b[2Ja\\u{202e}    b\n"
        );
        assert_eq!(
            render(0),
            "spark-01/instance.a | (EngineCore pid=7) \\x1b[2Ja\\u{202e}    b\n"
        );
    }

    #[test]
    fn colours_stay_at_a_terminal_and_nothing_else() {
        let coloured = Style {
            colour: true,
            ..Style::plain()
        };
        assert_eq!(
            render(WRITTEN, None, coloured),
            "\x1b[0;36m(EngineCore pid=7)\x1b[0;0m \\x1b[2Ja\\u{202e}\tb\n"
        );
        assert_eq!(render(" 10%\r 20%\r", None, Style::plain()), " 20%\n");
    }

    #[test]
    fn a_machine_reads_the_line_without_its_colours() {
        let address: Address = "n/instance.a".parse().unwrap();
        let line = LoggedLine::new(address, "n".parse().unwrap(), 3, WRITTEN);
        let line = serde_json::to_string(&line).unwrap();
        insta::assert_snapshot!(crate::visible::visible_json(&line), @r#"{"address":"n/instance.a","node":"n","generation":3,"line":"(EngineCore pid=7) \u001b[2Ja\u202e\tb"}"#);
    }
}
