//! What a key of a manifest is.

use serde_json::Value;

use super::style::{Role, Style};
use super::table::{Align, Cell, Table};
use crate::manifest::{Explained, Explanation};

/// Renders what the schema says of a key, and of those below it.
pub fn render(explanation: &Explanation, style: Style) -> String {
    let mut lines = vec![heading(explanation, style)];
    for paragraph in &explanation.about {
        lines.push(String::new());
        lines.extend(indented(paragraph, style));
    }
    let more = more(explanation);
    if !more.is_empty() {
        lines.push(String::new());
        lines.extend(more.iter().flat_map(|it| indented(it, style)));
    }
    lines.extend(listed("word", &explanation.words, style));
    lines.extend(listed("key", &explanation.keys, style));
    lines.join("\n") + "\n"
}

/// `instances.NAME.port: integer from 1 to 65535`
fn heading(explanation: &Explanation, style: Style) -> String {
    let path = match explanation.path.as_str() {
        "" => "a manifest",
        path => path,
    };
    let path = style.paint(Role::Title, path);
    // Words stand below, with what each means.
    if explanation.words.is_empty() {
        format!("{path}: {}", explanation.takes)
    } else {
        path
    }
}

fn indented(text: &str, style: Style) -> Vec<String> {
    let lines = style.wrap(text, style.width.saturating_sub(2));
    lines.into_iter().map(|line| format!("  {line}")).collect()
}

fn more(explanation: &Explanation) -> Vec<String> {
    let required = explanation.required && !explanation.path.is_empty();
    let default = explanation.default.as_ref();
    let examples: Vec<_> = explanation.examples.iter().map(written).collect();
    [
        required.then(|| "It must be there.".to_owned()),
        default.map(|it| format!("Without it: {}.", written(it))),
        (!examples.is_empty()).then(|| format!("As in: {}.", examples.join(", "))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A value as it stands in a manifest.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn listed(what: &'static str, rows: &[Explained], style: Style) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = [
        (what, Align::Left),
        ("takes", Align::Left),
        ("", Align::Left),
        ("what it is", Align::Left),
    ];
    let indented = Style {
        width: style.width.saturating_sub(2),
        ..style
    };
    let mut table = Table::new(indented, &columns);
    for row in rows {
        let required = if row.required { "required" } else { "" };
        table.row(vec![
            Cell::from(row.name.as_str()),
            Cell::from(row.takes.as_deref().unwrap_or_default()),
            Cell::dressed(required, Role::Hint),
            Cell::from(first_sentence(&row.about)),
        ]);
    }
    let mut lines = vec![String::new()];
    lines.extend(table.lines().into_iter().map(|line| format!("  {line}")));
    lines
}

/// What is more than that stands where the key itself is explained.
fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::explain;

    #[test]
    fn a_key_is_explained_with_what_holds_without_it() {
        let found = explain("instances.ready_timeout").unwrap();
        insta::assert_snapshot!(render(&found, Style::plain()), @"
        instances.NAME.ready_timeout: number of at least 0 or text

          How long its log may stand still while it loads: `900`, `15m`.

          A length of time: a number of seconds, or a text with units.

          Without it: 900.
          As in: 120, 120s, 2m, 1h30m, 500ms.
        ");
    }

    #[test]
    fn words_and_keys_have_a_line_each() {
        let found = explain("nodes").unwrap();
        insta::assert_snapshot!(render(&found, Style::plain()), @"
        nodes: {NAME: text or {ssh, addresses, …}}

          The machines, each by a name of your own.

          It must be there.

          key               takes                                         what it is
          ssh               text                                required  How it is reached: `user@host`, `user@host:port`, an alias of `~/.ssh/config`, or `local` for this machine.
          addresses         {NAME: text or {address, trusted}}            Its addresses by network, as other nodes dial them: `{lan: 192.168.1.76, fabric: 192.168.100.10}`.
          unmanaged         leave or stop                                 What becomes of vLLM servers there that `replica` did not start: they are shown (`leave`), or stopped (`stop`).
          supervisor        auto or systemd or session                    What looks after the processes there once they are started: the systemd of the user (`systemd`), which starts them again after a crash and after a reboot; nobody (`session`); or systemd for whatever starts anew where that user has one that outlives a login (`auto`).
          secrets           disk or memory                                Where the secrets of its processes lie for as long as they run, where systemd starts them again: in a file for its user alone (`disk`), or in memory (`memory`), which a reboot empties: what has secrets stays down after one, until an apply.
          memory_bandwidth  number above 0 or text                        How fast its GPUs read their memory, each for itself: `273 GB/s`.
        ");
        let found = explain("proxy.policy").unwrap();
        insta::assert_snapshot!(render(&found, Style::plain()), @"
        proxy.policy

          How an instance is chosen for each request.

          The policies a manifest can name. Where one has settings, its name alone stands for those that it has by itself.

          Without it: round_robin.

          word                what it is
          round_robin         Each instance in turn.
          least_connections   The instance with the fewest requests in flight; the first of equals in turn.
          two_choices         Of two that are drawn, the one with fewer requests in flight.
          outstanding_tokens  The instance with the fewest tokens still to be read and written, by the length of prompts and `max_tokens`.
          random              Any instance, all alike likely.
          session             `session`, with its settings as they are by themselves.
          prefix              `prefix`, with its settings as they are by themselves.

          key      takes              what it is
          session  {header, balance}  By what a session is known, and how evenly sessions are shared out.
          prefix   {window, blocks}   How much is remembered, and how much load it outweighs.
        ");
    }
}
