//! Tokens and their text: a stand-in for a tokenizer and a model that is deterministic and cheap.
//!
//! [`encode`] cuts a prompt into about as many tokens as a Llama tokenizer does. [`next_token`] says
//! what the model answers: the same for the same seed and position, so greedy decoding repeats.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A token's number.
pub(super) type Token = u32;

/// What opens every prompt, as Llama's tokenizer adds it.
pub(super) const BEGIN: Token = 128_000;
/// What ends an answer.
pub(super) const END: Token = 128_009;
/// How many tokens there are.
pub(super) const VOCABULARY: Token = 128_256;
/// A token without text, as special tokens and halves of a UTF-8 character are.
const SILENT: Token = 128_011;
/// Where the numbers of the words below start.
const FIRST_WORD: Token = 1_000;
/// Where the numbers of pieces that are in no list start, and how many there are.
const FIRST_OTHER: Token = 2_000;
const OTHERS: u64 = 126_000;
/// The longest piece of a word that is one token.
const LONGEST_PIECE: usize = 8;

const FULL_STOP: usize = 0;
const COMMA: usize = 1;
/// Words that start a sentence: from here up to [`INNER`].
const OPENING: usize = 2;
const INNER: usize = 18;

#[rustfmt::skip]
const WORDS: &[&str] = &[
    ".", ",",
    " The", " A", " This", " It", " When", " Each", " In", " By", " With", " Because", " Most",
    " Then", " Such", " As", " One", " For",
    " the", " of", " and", " to", " a", " in", " is", " that", " for", " with", " as", " are", " by",
    " it", " from", " on", " or", " an", " be", " can", " which", " this", " each", " more", " when",
    " server", " request", " requests", " load", " balancer", " client", " data", " index", " query",
    " database", " table", " rows", " memory", " cache", " model", " token", " tokens", " batch",
    " time", " latency", " throughput", " network", " connection", " traffic", " across", " many",
    " several", " between", " system", " systems", " process", " result", " results", " value",
    " values", " response", " protocol", " layer", " method", " resource", " resources", " state",
    " node", " nodes", " cluster", " service", " services", " application", " user", " users",
    " work", " queue", " waiting", " number", " size", " faster", " slower", " first", " next",
    " same", " other", " different", " single", " multiple", " available", " healthy", " failed",
    " using", " based", " over", " into", " than", " without", " until", " after", " before",
    " reads", " writes", " sends", " receives", " stores", " returns", " uses", " makes", " keeps",
    " shares", " moves", " needs", " allows", " improves", " reduces", " distributes", " chooses",
    " example", " order", " key", " keys", " structure", " page", " pages", " search", " lookup",
    " cost", " space", " disk", " speed", " performance", " reliability", " capacity", " simple",
    " common", " large", " small", " new", " old", " so", " but", " not", " only", " also", " even",
    " while", " where", " how", " what", " one", " two", " three", " all", " some", " no", " if",
];

static NUMBERS: LazyLock<HashMap<&'static str, Token>> = LazyLock::new(|| {
    WORDS
        .iter()
        .zip(FIRST_WORD..)
        .map(|(word, number)| (*word, number))
        .collect()
});

/// The text of a token.
pub(super) fn text_of(token: Token) -> &'static str {
    match token {
        BEGIN | END | SILENT => "",
        _ => WORDS[token.wrapping_sub(FIRST_WORD) as usize % WORDS.len()],
    }
}

/// Cuts text into tokens: words with the space before them, at most eight letters or three digits
/// each; every other character alone.
pub(super) fn encode(text: &str) -> Vec<Token> {
    let mut tokens = vec![BEGIN];
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece_length(rest));
        tokens.push(number_of(piece));
        rest = after;
    }
    tokens
}

/// A conversation as Llama's template writes it, up to where the assistant is to go on; the markers are
/// one token each.
pub(super) fn conversation<'a>(
    messages: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<Token> {
    let mut tokens = vec![BEGIN];
    for (role, content) in messages.into_iter().chain([("assistant", "")]) {
        // <|start_header_id|>role<|end_header_id|>, a blank line, the content, <|eot_id|>.
        tokens.extend([128_006, 78_191 + role.len() as Token, 128_007, 271]);
        tokens.extend(encode(content).into_iter().skip(1));
    }
    tokens
}

/// The text of several tokens.
pub(super) fn decode(tokens: &[Token]) -> String {
    tokens.iter().map(|token| text_of(*token)).collect()
}

fn piece_length(text: &str) -> usize {
    let space = usize::from(text.starts_with(' '));
    let run = |wanted: fn(char) -> bool, longest: usize| {
        text[space..]
            .chars()
            .take_while(|letter| wanted(*letter))
            .take(longest)
            .map(char::len_utf8)
            .sum::<usize>()
    };
    let letters = run(char::is_alphabetic, LONGEST_PIECE);
    let digits = run(char::is_numeric, 3);
    let any = || text[space..].chars().next().map_or(0, char::len_utf8);
    space
        + if letters > 0 {
            letters
        } else if digits > 0 {
            digits
        } else {
            any()
        }
}

fn number_of(piece: &str) -> Token {
    let other = || FIRST_OTHER + (fingerprint(piece.bytes().map(u64::from)) % OTHERS) as Token;
    NUMBERS.get(piece).copied().unwrap_or_else(other)
}

/// The token that the model answers with at `position` (counted from 0).
pub(super) fn next_token(seed: u64, position: usize) -> Token {
    let dice = mix(seed, position as u64);
    let opens = position == 0 || kind(seed, position - 1) == Kind::FullStop;
    let word = match kind(seed, position) {
        Kind::FullStop => FULL_STOP,
        Kind::Comma => COMMA,
        Kind::Silent => return SILENT,
        Kind::Word if opens => OPENING + (dice >> 16) as usize % (INNER - OPENING),
        Kind::Word => INNER + (dice >> 16) as usize % (WORDS.len() - INNER),
    };
    FIRST_WORD + word as Token
}

/// After how many tokens the model ends its answer of its own accord. Never under 160, so
/// that the usual limits are what ends an answer.
pub(super) fn natural_length(seed: u64) -> usize {
    160 + mix(seed, u64::MAX) as usize % 480
}

#[derive(PartialEq)]
enum Kind {
    Word,
    Comma,
    FullStop,
    Silent,
}

fn kind(seed: u64, position: usize) -> Kind {
    match mix(seed, position as u64) % 199 {
        // The first token always has text, so that a measured first token is one that can be seen.
        0 | 1 if position > 0 => Kind::Silent,
        2..=15 if position > 3 => Kind::FullStop,
        16..=26 if position > 1 => Kind::Comma,
        _ => Kind::Word,
    }
}

/// One number for a sequence of numbers: FNV-1a, which is the same on every machine.
pub(super) fn fingerprint(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, number| {
            (hash ^ number).wrapping_mul(0x0100_0000_01b3)
        })
}

/// Mixes two numbers into one that looks random (the finaliser of SplitMix64).
pub(super) fn mix(seed: u64, salt: u64) -> u64 {
    let mut mixed = seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_becomes_about_as_many_tokens_as_it_has_words() {
        assert_eq!(encode("hello world").len(), 3);
        assert_eq!(encode("What is a REST API?").len(), 7);
        assert_eq!(encode("12345 ünïcode…\n").len(), 6);
    }

    #[test]
    fn an_answer_repeats_for_a_seed_and_differs_between_seeds() {
        let answer = |seed| (0..100).map(|at| next_token(seed, at)).collect::<Vec<_>>();
        assert_eq!(answer(7), answer(7));
        assert_ne!(answer(7), answer(8));
    }

    #[test]
    fn a_token_without_text_is_rare_but_real() {
        let silent = (0..10_000)
            .filter(|at| text_of(next_token(3, *at)).is_empty())
            .count();
        assert!((20..300).contains(&silent), "{silent} of 10000");
    }

    #[test]
    fn what_the_model_says_is_ascii() {
        assert!(WORDS.iter().all(|word| word.is_ascii()));
    }

    #[test]
    fn what_the_model_says_reads_back_as_the_same_tokens() {
        let said: Vec<_> = (0..50)
            .map(|at| next_token(11, at))
            .filter(|token| *token != SILENT)
            .collect();
        assert_eq!(encode(&decode(&said))[1..], said);
    }
}
