//! Prompts that stand in the manifest.

use super::form::{Form, InvalidPrompts, PromptsPart, Unreadable};
use super::{Ask, Asks, Prompt, Prompts, Reading};

/// Texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inline {
    texts: Vec<String>,
}

impl Form for Inline {
    type Value = Vec<String>;
    const WITH: &'static [&'static str] = &[];
    const EXAMPLE: &'static str = "{inline: [What is a REST API?]}";

    fn check(texts: &Vec<String>, _: &Prompts) -> Result<Self, Vec<InvalidPrompts>> {
        if texts.is_empty() {
            return Err(vec![InvalidPrompts::new(
                PromptsPart::value(&["inline"]),
                "there are no prompts",
                "request number i sends prompt number i, from the beginning again after the last",
            )]);
        }
        let blank = texts.iter().enumerate();
        let blank = blank.filter(|(_, text)| text.trim().is_empty());
        let wrong: Vec<_> = blank
            .map(|(index, _)| {
                InvalidPrompts::new(
                    PromptsPart::value(&["inline", &index.to_string()]),
                    format!("prompt {} is empty", index + 1),
                    "write what is asked",
                )
            })
            .collect();
        if wrong.is_empty() {
            Ok(Self {
                texts: texts.clone(),
            })
        } else {
            Err(wrong)
        }
    }

    fn read(&self, reading: &Reading<'_>) -> Result<Asks, Unreadable> {
        let ask = |text: &String| Ask::new(Prompt::Text(text.clone()), reading.max_tokens);
        let asks = self.texts.iter().map(ask).collect();
        Ok(Asks::listed("inline", asks, reading.max_tokens))
    }
}
