//! The fields of a change: `max_num_seqs: 64 -> 128` where that fits, a line diff where not.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::plan::{Action, Field, Planned};

use super::style::{Role, Style};
use super::words::{clean, columns};

/// Where the fields of a change begin.
const INDENT: usize = 8;
/// Lines of a long value that are shown around what differs in it.
const CONTEXT: usize = 2;
/// A path longer than this does not push the values of its neighbours to the right.
const WIDEST_PATH: usize = 32;

/// Renders the fields of one change, a line or more for each.
pub(super) fn render(fields: &[Field], style: Style) -> Vec<String> {
    let widths = fields.iter().map(|field| columns(&field.path));
    let column = widths.filter(|w| *w <= WIDEST_PATH).max().unwrap_or(0) + 1;
    fields
        .iter()
        .flat_map(|field| render_one(field, column, style))
        .collect()
}

fn render_one(field: &Field, column: usize, style: Style) -> Vec<String> {
    let action = sign_of(field);
    let sign = style.paint(Role::Action(action), action.sign());
    let label = format!("{}:", clean(&field.path));
    let forces = if field.forces_replacement {
        let note = style.paint(Role::Action(Action::Replace), "# forces replacement");
        format!("   {note}")
    } else {
        String::new()
    };
    let head = |rest: &str| format!("{:INDENT$}{sign} {rest}{forces}", "");

    let one_line = in_one_line(field).filter(|values| {
        let note = if field.forces_replacement { 23 } else { 0 };
        INDENT + 2 + column.max(columns(&label)) + 1 + columns(values) + note <= style.width
    });
    match one_line {
        Some(values) => vec![head(&format!("{label:<column$} {values}"))],
        None => std::iter::once(head(&label))
            .chain(in_many_lines(field, style))
            .collect(),
    }
}

/// What happens to a field, which has the same signs as what happens to a thing.
fn sign_of(field: &Field) -> Action {
    match (&field.old, &field.new) {
        (None, _) => Action::Create,
        (_, Planned::Gone) => Action::Destroy,
        _ => Action::Update,
    }
}

const LATER: &str = "(known after apply)";

fn in_one_line(field: &Field) -> Option<String> {
    let new = match &field.new {
        Planned::Known(value) => Some(short(value)?),
        Planned::AfterApply => Some(LATER.to_owned()),
        Planned::Gone => None,
    };
    let old = match &field.old {
        Some(value) => Some(short(value)?),
        None => None,
    };
    match (old, new) {
        (Some(old), Some(new)) => Some(format!("{old} -> {new}")),
        (one, None) | (None, one) => one,
    }
}

/// Writes a value in one line, or not at all where it has several.
fn short(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains('\n') => None,
        Value::String(text) if is_plain(text) => Some(clean(text)),
        other => Some(clean(&other.to_string())),
    }
}

/// Whether a text needs no quotes: it cannot be taken for a number, for another kind of
/// value, or for something that the plan itself says.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && !text.contains(" -> ")
        && !text.starts_with(['"', '{', '[', '('])
        && !text.chars().any(char::is_control)
        && serde_json::from_str::<Value>(text).is_err()
}

fn in_many_lines(field: &Field, style: Style) -> Vec<String> {
    let old = field.old.as_ref().map(long).unwrap_or_default();
    let new = match &field.new {
        Planned::Known(value) => long(value),
        Planned::AfterApply => format!("{LATER}\n"),
        Planned::Gone => String::new(),
    };
    let diff = TextDiff::from_lines(&old, &new);
    let mut lines = Vec::new();
    for (place, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if place > 0 {
            lines.push(format!(
                "{:INDENT$}    {}",
                "",
                style.paint(Role::Faint, "…")
            ));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            lines.extend(diff_line(change.tag(), change.value(), style));
        }
    }
    lines
}

/// Writes one line of a diff, broken where it is too long; nothing of it is left out.
fn diff_line(tag: ChangeTag, line: &str, style: Style) -> Vec<String> {
    let (sign, role) = match tag {
        ChangeTag::Equal => (" ", Role::Faint),
        ChangeTag::Delete => ("-", Role::Action(Action::Destroy)),
        ChangeTag::Insert => ("+", Role::Action(Action::Create)),
    };
    let text: Vec<char> = clean(line.trim_end_matches('\n')).chars().collect();
    let room = if style.folds {
        style.width.saturating_sub(INDENT + 4).max(20)
    } else {
        usize::MAX
    };
    let mut pieces: Vec<String> = text.chunks(room).map(|c| c.iter().collect()).collect();
    if pieces.is_empty() {
        pieces.push(String::new());
    }
    let sign_once = std::iter::once(sign).chain(std::iter::repeat(" "));
    sign_once
        .zip(pieces)
        .map(|(sign, piece)| {
            let dressed = style.paint(role, format!("{sign} {piece}").trim_end());
            format!("{:INDENT$}  {dressed}", "").trim_end().to_owned()
        })
        .collect()
}

/// Writes a value over as many lines as it needs. Keys are sorted: their order says nothing.
fn long(value: &Value) -> String {
    let mut text = match value {
        Value::String(text) => text.clone(),
        other => {
            let mut sorted = other.clone();
            sorted.sort_all_objects();
            serde_json::to_string_pretty(&sorted).unwrap_or_else(|_| sorted.to_string())
        }
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(path: &str, old: Option<Value>, new: Planned) -> Field {
        Field {
            path: path.to_owned(),
            old,
            new,
            forces_replacement: false,
        }
    }

    fn rendered(fields: &[Field]) -> String {
        render(fields, Style::plain()).join("\n")
    }

    #[test]
    fn a_text_that_looks_like_a_number_is_quoted() {
        let fields = [
            field("a", Some(json!("64")), Planned::Known(json!(64))),
            field("b", Some(json!("true")), Planned::Known(json!("yes"))),
            field("c", Some(json!("")), Planned::Known(Value::Null)),
        ];
        insta::assert_snapshot!(rendered(&fields), @r#"
                ~ a: "64" -> 64
                ~ b: "true" -> yes
                ~ c: "" -> null
        "#);
    }

    #[test]
    fn fields_come_go_and_are_known_later() {
        let fields = [
            field("args.seed", None, Planned::Known(json!(0))),
            field("args.enforce_eager", Some(json!(true)), Planned::Gone),
            field("pid", Some(json!(4711)), Planned::AfterApply),
        ];
        insta::assert_snapshot!(rendered(&fields), @r"
                + args.seed:          0
                - args.enforce_eager: true
                ~ pid:                4711 -> (known after apply)
        ");
    }

    #[test]
    fn long_values_are_shown_as_the_lines_that_differ() {
        let backend = |name: &str, port: u16| json!({"name": name, "authority": format!("192.168.1.76:{port}"), "nonce": format!("replica-{name}-3f2c91aa")});
        let fields = [field(
            "backends",
            Some(json!([backend("a", 8100)])),
            Planned::Known(json!([backend("a", 8101)])),
        )];
        insta::assert_snapshot!(rendered(&fields), @r#"
                ~ backends:
                    [
                      {
                  -     "authority": "192.168.1.76:8100",
                  +     "authority": "192.168.1.76:8101",
                        "name": "a",
                        "nonce": "replica-a-3f2c91aa"
        "#);
    }

    #[test]
    fn nothing_of_a_long_line_is_lost() {
        let token = "x".repeat(200);
        let fields = [field("env.KEY", None, Planned::Known(json!(token)))];
        let lines = render(
            &fields,
            Style {
                folds: true,
                ..Style::plain()
            },
        );
        assert!(lines.iter().all(|line| columns(line) <= Style::WIDEST));
        assert_eq!(lines.concat().matches('x').count(), 200);
    }
}
