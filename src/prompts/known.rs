//! Prompts for tests, by what they are.

use std::path::Path;

use super::{Api, Asks, Prompts, Reading};

/// Reads prompts that a test writes, for answers of so many tokens.
pub(crate) fn asks(prompts: &Prompts, api: Api, max_tokens: u32) -> Asks {
    let source = prompts.meant().expect("a test writes good prompts");
    let reading = Reading {
        folder: Path::new(""),
        api,
        max_tokens,
    };
    source.read(&reading).expect("they can be read")
}

/// These texts.
pub(crate) fn inline(texts: &[&str], max_tokens: u32) -> Asks {
    let prompts = Prompts {
        inline: Some(texts.iter().map(|text| (*text).to_owned()).collect()),
        ..Prompts::default()
    };
    asks(&prompts, Api::Completions, max_tokens)
}

/// Token ids that are drawn, as `synthetic:` would have it in JSON.
pub(crate) fn synthetic(declared: &serde_json::Value) -> Asks {
    let text = format!("{{\"synthetic\": {declared}, \"seed\": 7}}");
    let prompts = serde_json::from_str(&text).expect("it is declared so");
    asks(&prompts, Api::Completions, 100)
}
