//! A request, as policies see it.

use std::cell::OnceCell;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName};

use super::part::Part;
use super::top_level::Pairs;

/// What is known of a request before it is sent. What its body says is looked for once, by whoever
/// wants it first.
#[derive(Debug)]
pub(super) struct RequestView<'a> {
    headers: &'a HeaderMap,
    body: Option<&'a Bytes>,
    part: Part,
    keys: OnceCell<TopLevel<'a>>,
}

/// What the top level of a body says, as far as somebody wants to know it. Of a key that is there
/// twice the last counts, as it does in Python.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TopLevel<'a> {
    /// As many tokens as the answer may have: `max_completion_tokens`, `max_tokens` or
    /// `max_output_tokens`.
    pub(super) max_tokens: Option<u64>,
    /// The text of `user`, as it is written.
    pub(super) user: Option<&'a [u8]>,
    /// `model` and `cache_salt`, as they are written: what a server reads is found again by none that has
    /// others.
    pub(super) apart: [&'a [u8]; 2],
    messages: Option<&'a [u8]>,
    prompt: Option<&'a [u8]>,
    input: Option<&'a [u8]>,
}

impl<'a> TopLevel<'a> {
    fn of(body: &'a [u8]) -> Self {
        let mut found = Self::default();
        for (key, value) in Pairs::of(body) {
            match &*key {
                "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                    let number = serde_json::from_slice(value).ok();
                    found.max_tokens = number.or(found.max_tokens);
                }
                "user" => found.user = (value.len() > 2 && value[0] == b'"').then_some(value),
                "model" => found.apart[0] = value,
                "cache_salt" => found.apart[1] = value,
                "messages" => found.messages = Some(value),
                "prompt" => found.prompt = Some(value),
                "input" => found.input = Some(value),
                _ => {}
            }
        }
        found
    }

    /// What is left of it for one part: who reads a prompt for another writes one token, and who writes the
    /// answer reads nothing.
    fn of_part(&self, part: Part) -> Self {
        let whole = self.clone();
        match part {
            Part::Whole | Part::Alone => whole,
            Part::Prefill => Self {
                max_tokens: Some(1),
                ..whole
            },
            Part::Decode => Self {
                messages: None,
                prompt: None,
                input: None,
                ..whole
            },
        }
    }

    /// What the model is to read, as it is written: `messages`, `prompt` or `input`.
    pub(super) fn asked(&self) -> &'a [u8] {
        let asked = self.messages.or(self.prompt).or(self.input);
        asked.unwrap_or_default()
    }
}

impl<'a> RequestView<'a> {
    /// Of a request whose body is held; of a larger one it is not known.
    pub(super) fn new(headers: &'a HeaderMap, body: Option<&'a Bytes>) -> Self {
        Self {
            headers,
            body,
            part: Part::Whole,
            keys: OnceCell::new(),
        }
    }

    /// The same, for who chooses an instance for this part of it.
    pub(super) fn for_part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// For which part of it an instance is chosen.
    pub(super) fn part(&self) -> Part {
        self.part
    }

    /// What it says under a name in its head, if anything.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&'a [u8]> {
        let value = self.headers.get(name)?.as_bytes();
        (!value.is_empty()).then_some(value)
    }

    /// How much there is to read, in bytes: its body, unless another has read it.
    pub(super) fn length(&self) -> u64 {
        match self.part {
            Part::Decode => 0,
            _ => self.body.map_or(0, |body| body.len() as u64),
        }
    }

    /// What the top level of its body says, as far as it is about this part; nothing where it is no JSON.
    pub(super) fn keys(&self) -> TopLevel<'a> {
        self.whole().of_part(self.part)
    }

    /// What the top level of its body says, whatever the part.
    pub(super) fn whole(&self) -> &TopLevel<'a> {
        self.keys.get_or_init(|| {
            let body = self.body.map_or(&b""[..], |body| body);
            TopLevel::of(body)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_level_is_read_and_nothing_else() {
        let of = |body: &str| TopLevel::of(body.as_bytes()).max_tokens;
        assert_eq!(
            of(r#"{"prompt":"\"max_tokens\":9","max_tokens":3}"#),
            Some(3)
        );
        assert_eq!(
            of(r#"{"max_completion_tokens":7,"max_tokens":null}"#),
            Some(7)
        );
        assert_eq!(of(r#"{"a":{"max_tokens":9}}"#), None);
        assert_eq!(of(r#"{"max_tokens":"many"}"#), None);
        assert_eq!(of(""), None);
        assert_eq!(of("[]"), None);
    }

    #[test]
    fn who_asks_is_never_read_out_of_what_is_asked() {
        let within = br#"{"prompt":"{\"user\":\"eve\"}","messages":[{"user":"eve"}],"n":1}"#;
        assert_eq!(TopLevel::of(within).user, None);
        let beside = br#"{"prompt":"\"user\":\"eve\"","user":"bob"}"#;
        assert_eq!(TopLevel::of(beside).user, Some(&br#""bob""#[..]));
        for nobody in [r#"{"user":""}"#, r#"{"user":null}"#, r#"{"user":["a"]}"#] {
            assert_eq!(TopLevel::of(nobody.as_bytes()).user, None, "{nobody}");
        }
    }

    #[test]
    fn each_part_is_seen_with_its_own_work() {
        let body = Bytes::from_static(br#"{"prompt":"p","max_tokens":9,"user":"u"}"#);
        let headers = HeaderMap::new();
        let seen = |part| {
            let view = RequestView::new(&headers, Some(&body)).for_part(part);
            let keys = view.keys();
            assert_eq!(keys.user, Some(&br#""u""#[..]));
            (view.length(), keys.asked().len(), keys.max_tokens)
        };
        let all = body.len() as u64;
        assert_eq!(seen(Part::Whole), (all, 3, Some(9)));
        assert_eq!(seen(Part::Alone), (all, 3, Some(9)));
        assert_eq!(seen(Part::Prefill), (all, 3, Some(1)));
        assert_eq!(seen(Part::Decode), (0, 0, Some(9)));
    }

    #[test]
    fn what_is_asked_has_one_of_three_names() {
        let asked = |body: &'static str| TopLevel::of(body.as_bytes()).asked();
        assert_eq!(asked(r#"{"model":"m","messages":[1]}"#), b"[1]");
        assert_eq!(asked(r#"{"prompt":"p"}"#), br#""p""#);
        assert_eq!(asked(r#"{"input":["i"],"n":1}"#), br#"["i"]"#);
        assert_eq!(asked(r#"{"n":1}"#), b"");
    }
}
