//! An error in an answer whose status says that there is none.
//!
//! vLLM 0.13 answers so where its model cannot do what is asked: `/v1/embeddings` of one that generates
//! returns the error as it is, and FastAPI gives it a 200. Who believes the status counts it as served.

use serde::Deserialize;
use serde_json::Value;

use super::requests::Outcome;

/// How such a body begins, its blanks left out. No answer of OpenAI's API begins so: in those that have an
/// `error`, it is null or stands behind the `id`.
const BEGINNING: &[u8] = b"{\"error\":{";

/// What has more bytes is no error.
const LARGEST: usize = 16 * 1024;

/// A body, as far as it may be one.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    /// As many characters of the beginning have come.
    begun: usize,
    /// All that came.
    text: Vec<u8>,
    is_other: bool,
}

#[derive(Deserialize)]
struct Told {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    code: Value,
}

impl ErrorBody {
    /// One that begins so.
    pub(super) fn begun(beginning: &[u8]) -> Self {
        let mut body = Self::default();
        body.pass(beginning);
        body
    }

    /// Looks at the next piece.
    pub(super) fn pass(&mut self, piece: &[u8]) {
        if self.is_other {
            return;
        }
        let characters = piece.iter().filter(|byte| !byte.is_ascii_whitespace());
        for (character, wanted) in characters.zip(&BEGINNING[self.begun..]) {
            if character != wanted {
                self.is_other = true;
                break;
            }
            self.begun += 1;
        }
        if self.is_other || self.text.len() + piece.len() > LARGEST {
            *self = Self {
                is_other: true,
                ..Self::default()
            };
            return;
        }
        self.text.extend_from_slice(piece);
    }

    /// What the whole body comes to, if it is one: as its own code says.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        if self.is_other || self.begun < BEGINNING.len() {
            return None;
        }
        let told: Told = serde_json::from_slice(&self.text).ok()?;
        let is_refusal = told.error.code.as_u64().is_some_and(|it| it / 100 == 4);
        Some(if is_refusal {
            Outcome::ClientError
        } else {
            Outcome::ErrorEvent
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body comes to, however it is cut.
    fn outcome(text: &str) -> Option<Outcome> {
        let cut = |size: usize| {
            let mut body = ErrorBody::default();
            text.as_bytes().chunks(size).for_each(|it| body.pass(it));
            body.outcome()
        };
        let whole = cut(text.len().max(1));
        for size in 1..text.len().min(40) {
            assert_eq!(cut(size), whole, "{size}: {text}");
        }
        whole
    }

    #[test]
    fn an_error_counts_as_its_code_says() {
        let vllms = r#"{"error":{"message":"The model does not support Embeddings API","type":"BadRequestError","param":null,"code":400}}"#;
        assert_eq!(outcome(vllms), Some(Outcome::ClientError));
        for (text, counts) in [
            ("{\"error\": {\"code\": 429}}", Outcome::ClientError),
            (
                "{ \"error\" : {\"message\": \"m\"} }\n",
                Outcome::ErrorEvent,
            ),
            ("{\"error\":{\"code\":\"no_model\"}}", Outcome::ErrorEvent),
            ("{\"error\":{\"code\":500}}", Outcome::ErrorEvent),
        ] {
            assert_eq!(outcome(text), Some(counts), "{text}");
        }
    }

    #[test]
    fn what_is_none_counts_as_served() {
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(LARGEST));
        for text in [
            "",
            "{}",
            r#"{"error":null,"id":"resp_1"}"#,
            r#"{"id":"cmpl-1","error":{"code":500}}"#,
            r#"{"errors":{}}"#,
            r#"{"error":{"code":500}"#,
            r#"[{"error":{}}]"#,
            &long,
        ] {
            assert_eq!(outcome(text), None, "{text}");
        }
    }
}
