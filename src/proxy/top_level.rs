//! The keys of a JSON object and their values, as they are written.
//!
//! What lies deeper is passed over without being understood: a body of 100 KB is one long text for
//! the most part, and that is searched for its end alone. So nothing is checked here; of a body that is
//! no JSON its server tells the client.

use std::borrow::Cow;
use std::ops::Range;

/// The keys of an object with their values, one after another, as far as it is one.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    rest: &'a [u8],
    is_first: bool,
    is_over: bool,
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    /// Without its quotes and escapes.
    pub(super) key: Cow<'a, str>,
    pub(super) value: &'a [u8],
    /// Both, as they are written.
    pub(super) written: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// Those of a body; none of what is no object.
    pub(super) fn of(body: &'a [u8]) -> Self {
        let rest = past_blanks(body).strip_prefix(b"{");
        Self {
            rest: rest.unwrap_or_default(),
            is_first: true,
            is_over: false,
        }
    }

    /// Whether the object ends, and all that is behind it is blank, where they were read to the end.
    pub(super) fn is_whole(&self) -> bool {
        past_blanks(self.rest)
            .strip_prefix(b"}")
            .is_some_and(|end| past_blanks(end).is_empty())
    }

    /// The next of them.
    pub(super) fn next_pair(&mut self) -> Option<Pair<'a>> {
        if self.is_over {
            return None;
        }
        let pair = self.pair();
        self.is_over = pair.is_none();
        pair
    }

    fn pair(&mut self) -> Option<Pair<'a>> {
        let mut rest = past_blanks(self.rest);
        if !std::mem::take(&mut self.is_first) {
            rest = past_blanks(rest.strip_prefix(b",")?);
        }
        let begins = rest;
        let (key, rest) = rest.split_at_checked(end_of_text(rest)?)?;
        let rest = past_blanks(past_blanks(rest).strip_prefix(b":")?);
        let (value, rest) = rest.split_at_checked(end_of_value(rest)?)?;
        self.rest = rest;
        Some(Pair {
            key: read(key)?,
            value,
            written: &begins[..begins.len() - rest.len()],
        })
    }
}

/// Where a part of a text stands in it.
pub(super) fn place(part: &[u8], text: &[u8]) -> Range<usize> {
    let from = part.as_ptr().addr() - text.as_ptr().addr();
    from..from + part.len()
}

/// Whether an array has more than one element, where those are texts or arrays.
pub(super) fn has_several(array: &[u8]) -> bool {
    let Some(first) = array.strip_prefix(b"[").map(past_blanks) else {
        return false;
    };
    let is_one_of_several = || {
        let rest = first.get(end_of_value(first)?..)?;
        Some(past_blanks(rest).starts_with(b","))
    };
    matches!(first.first(), Some(b'"' | b'[')) && is_one_of_several().unwrap_or(true)
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Cow<'a, str>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_pair().map(|pair| (pair.key, pair.value))
    }
}

/// A key without its quotes and escapes.
fn read(key: &[u8]) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', key).is_some() {
        return serde_json::from_slice::<String>(key).ok().map(Cow::Owned);
    }
    let bare = key.get(1..key.len() - 1)?;
    std::str::from_utf8(bare).ok().map(Cow::Borrowed)
}

fn past_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    &text[blanks..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Where the value ends that a text begins with.
fn end_of_value(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => end_of_text(text),
        b'{' | b'[' => end_of_nested(text),
        _ => {
            let ends = |byte: &u8| is_blank(*byte) || matches!(byte, b',' | b'}' | b']');
            text.iter().position(ends).filter(|end| *end > 0)
        }
    }
}

fn end_of_nested(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => at += end_of_text(&text[at..])?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

/// Behind the closing quote of what begins with a quote.
fn end_of_text(text: &[u8]) -> Option<usize> {
    let mut at = text.starts_with(b"\"").then_some(1)?;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn pairs(body: &str) -> Vec<(String, &str)> {
        let pairs = Pairs::of(body.as_bytes());
        pairs
            .map(|(key, value)| (key.into_owned(), std::str::from_utf8(value).unwrap()))
            .collect()
    }

    #[test]
    fn what_is_no_object_has_none_and_what_is_broken_has_what_came_before() {
        for body in [
            "", " ", "[]", "{", "{}", "1", "\"a\"", "{\"a", "{\"a\":", "{\"a\":1",
        ] {
            assert_eq!(pairs(body), [], "{body}");
        }
        for body in [
            r#"{"a":1,"b"#,
            r#"{"a":1,"b":"\"#,
            r#"{"a":1,"b":[{]"#,
            r#"{"a":1 "b":2}"#,
        ] {
            assert_eq!(pairs(body), [("a".to_owned(), "1")], "{body}");
        }
    }

    #[test]
    fn escapes_are_read_in_keys_and_left_in_values() {
        let body = r#" { "\u0061\"" : "x\\" , "b" : [ "]", {"}":1} ] }"#;
        let seen = pairs(body);
        assert_eq!(seen[0], ("a\"".to_owned(), r#""x\\""#));
        assert_eq!(seen[1], ("b".to_owned(), r#"[ "]", {"}":1} ]"#));
    }

    #[test]
    fn a_pair_is_told_as_it_is_written() {
        let body = br#" { "\u0061" : [ 1 ] , "b":2}"#;
        let mut pairs = Pairs::of(body);
        let first = pairs.next_pair().unwrap();
        assert_eq!(
            (&*first.key, first.written),
            ("a", &br#""\u0061" : [ 1 ]"#[..])
        );
        assert_eq!(&body[place(first.value, body)], b"[ 1 ]");
        assert_eq!(pairs.next_pair().unwrap().written, br#""b":2"#);
        assert!(pairs.next_pair().is_none() && pairs.is_whole());
    }

    #[test]
    fn several_texts_are_told_from_one_and_from_many_numbers() {
        for one in ["", "1", "\"a\"", "[]", "[1,2]", "[ \"a,b\" ]", "[[1,2]]"] {
            assert!(!has_several(one.as_bytes()), "{one}");
        }
        for several in ["[\"a\",\"b\"]", "[ \"\" , 1]", "[[1] ,[2]]"] {
            assert!(has_several(several.as_bytes()), "{several}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<Option<bool>>().prop_map(|it| json!(it)),
            any::<i64>().prop_map(|it| json!(it)),
            any::<f32>().prop_map(|it| json!(it)),
            "[\"\\\\{}\\[\\],: a-zä\n]{0,12}".prop_map(|it| json!(it)),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let key = "[\"\\\\{}a-c]{0,4}";
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|it| json!(it)),
                proptest::collection::btree_map(key, inner, 0..4).prop_map(|it| json!(it)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Of whatever is written, in one line or in many, serde reads the same.
        #[test]
        fn serde_reads_the_same(
            object in proptest::collection::btree_map("[\"\\\\a-cä\n]{0,4}", value(), 0..5),
            is_pretty in any::<bool>(),
        ) {
            let object = json!(object);
            let body = if is_pretty { format!("{object:#}") } else { object.to_string() };
            let read = pairs(&body).into_iter();
            let read: serde_json::Map<_, _> = read
                .map(|(key, value)| (key, serde_json::from_str(value).unwrap()))
                .collect();
            prop_assert_eq!(Value::Object(read), object);
        }

        /// Wherever it is cut, nothing is read beyond.
        #[test]
        fn a_body_that_is_cut_is_no_trouble(object in value(), cut in 0..200_usize) {
            let body = json!({"a": object}).to_string();
            let mut ends = (0..=cut.min(body.len())).rev();
            let end = ends.find(|end| body.is_char_boundary(*end)).unwrap();
            let seen = pairs(&body[..end]);
            prop_assert!(seen.len() <= 1);
        }
    }
}
