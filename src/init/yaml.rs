//! Values as a manifest has them, written so that they are read as what they are.

use serde_json::Value;

/// A text as YAML has it: bare where it stays a text so, else in quotes. A `${` of somebody else's is no
/// variable of the manifest.
pub(super) fn text(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./+@".contains(c);
    let begins = |c: char| c.is_ascii_alphabetic() || c == '/';
    let is_bare = text.starts_with(begins) && text.chars().all(bare) && !is_a_word_of_yaml(text);
    if is_bare {
        return text.to_owned();
    }
    Value::from(text).to_string().replace("${", "$${")
}

/// Whether a reader of YAML, of whichever version, takes a text for something else.
fn is_a_word_of_yaml(text: &str) -> bool {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    words.contains(&text.to_ascii_lowercase().as_str())
}

/// One word of a command line: a number stays as it was written.
pub(super) fn word(word: &str) -> String {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().filter(|byte| *byte == b'.').count() <= 1
        && !digits.ends_with('.');
    if is_number {
        word.to_owned()
    } else {
        text(word)
    }
}

/// Any value, on one line.
pub(super) fn value(it: &Value) -> String {
    match it {
        Value::String(it) => text(it),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(value).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries = entries.iter();
            let entries: Vec<_> = entries
                .map(|(key, it)| format!("{}: {}", text(key), value(it)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_stays_one() {
        for (it, written) in [
            ("triton_attn", "triton_attn"),
            ("no", "\"no\""),
            ("", "\"\""),
            ("0.13.0", "\"0.13.0\""),
            ("a: b", "\"a: b\""),
            ("${HOME}/x", "\"$${HOME}/x\""),
        ] {
            assert_eq!(text(it), written);
        }
    }

    #[test]
    fn a_number_of_a_command_line_stays_as_it_was_written() {
        for (it, written) in [
            ("0.90", "0.90"),
            ("-1", "-1"),
            ("1.2.3", "\"1.2.3\""),
            ("8k", "\"8k\""),
            ("auto", "auto"),
            ("-", "\"-\""),
        ] {
            assert_eq!(word(it), written);
        }
    }

    #[test]
    fn a_map_is_read_as_it_was_written() {
        let map = json!({"method": "mtp", "n": [1, 0.5, true, null], "a b": {"c": "${x}"}});
        let written = value(&map);
        assert_eq!(
            written,
            "{method: mtp, \"n\": [1, 0.5, true, null], \"a b\": {c: \"$${x}\"}}"
        );
        let read: Value = serde_yaml::from_str(&written).unwrap();
        assert_eq!(read["n"], map["n"]);
    }
}
