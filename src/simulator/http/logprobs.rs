//! Log-probabilities beside tokens, in the forms in which completions and chats tell them.
//!
//! The numbers are made up, the same for the same token; the form is that of 0.13.0: a completion
//! has four lists, a chat an entry for each token.

use serde_json::{Map, Value, json};

use super::envelope::Kind;
use super::pieces::Piece;
use crate::simulator::text::{Token, mix, text_of};

/// How many tokens there are between the one that was chosen and another that was not.
const APART: Token = 7;

/// The log-probabilities of a piece, where `top` of the likeliest tokens are asked for beside each.
pub(super) fn of(kind: Kind, piece: &Piece, top: Option<usize>) -> Value {
    let Some(top) = top else {
        return Value::Null;
    };
    match kind {
        Kind::Completion => completion(piece, top),
        Kind::Chat => chat(piece, top),
    }
}

/// The chosen token and those that were likeliest beside it, the likeliest first. As in vLLM, the
/// chosen one is told whatever is asked.
fn likeliest(token: Token, top: usize) -> impl Iterator<Item = (&'static str, f64)> {
    (0..top.max(1) as Token).map(move |place| {
        let share = mix(u64::from(token), u64::from(place)) % 1000;
        let logprob = -(f64::from(place) + share as f64 / 1000.0);
        (text_of(token.wrapping_add(place * APART)), logprob)
    })
}

fn completion(piece: &Piece, top: usize) -> Value {
    let (mut offsets, mut texts, mut chosen, mut beside) = (vec![], vec![], vec![], vec![]);
    let mut offset = piece.from;
    for token in &piece.tokens {
        let text = text_of(*token);
        let all: Map<String, Value> = likeliest(*token, top)
            .map(|(text, logprob)| (text.to_owned(), logprob.into()))
            .collect();
        chosen.push(likeliest(*token, 1).next().map(|(_, logprob)| logprob));
        beside.push(all);
        offsets.push(offset);
        offset += text.len();
        texts.push(text);
    }
    json!({
        "text_offset": offsets,
        "token_logprobs": chosen,
        "tokens": texts,
        "top_logprobs": beside,
    })
}

fn chat(piece: &Piece, top: usize) -> Value {
    let one = |(text, logprob): (&'static str, f64)| json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()});
    let entry = |token: &Token| {
        let mut entry = likeliest(*token, 1).next().map(one).unwrap_or_default();
        let all = likeliest(*token, top).take(top);
        entry["top_logprobs"] = all.map(one).collect::<Vec<_>>().into();
        entry
    };
    let content: Vec<Value> = piece.tokens.iter().map(entry).collect();
    json!({"content": content})
}
