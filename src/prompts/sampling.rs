//! How tokens are chosen, in vLLM's own words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Api;

/// How the tokens of an answer are chosen: greedily, and as many as are asked for, unless it says
/// otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// 0, the default, always chooses the likeliest token; above it, tokens are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub temperature: Option<f64>,
    /// Only the likeliest tokens that have this share of the probability together are drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub top_p: Option<f64>,
    /// Only so many of the likeliest tokens are drawn; 0 and -1 mean all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub top_k: Option<i32>,
    /// Only tokens are drawn that are this likely beside the likeliest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub min_p: Option<f64>,
    /// The seed of each request, so that what is drawn can be drawn again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// How many of the likeliest tokens are told beside each token with their probabilities; 0 tells
    /// that of the token alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// As vLLM has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// As vLLM has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// As vLLM has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Whether an answer goes on after its end until it is as long as was asked; default: true.
    /// Where it is false, answers differ in length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_eos: Option<bool>,
}

impl Sampling {
    /// Whether the likeliest token is always chosen, so that the same prompt has one answer.
    pub fn is_greedy(&self) -> bool {
        self.temperature
            .is_none_or(|temperature| temperature == 0.0)
    }

    /// Whether an answer has exactly as many tokens as are asked for.
    pub fn is_exact(&self) -> bool {
        self.ignore_eos.unwrap_or(true)
    }

    /// The same, with nothing left to the server's defaults that lengths and answers hang on.
    #[must_use]
    pub fn sent(&self) -> Self {
        Self {
            temperature: Some(self.temperature.unwrap_or(0.0)),
            ignore_eos: Some(self.is_exact()),
            ..self.clone()
        }
    }

    /// Its fields in the body of a request over this route: chats ask for probabilities in other
    /// words than completions.
    pub fn fields(&self, api: Api) -> Map<String, Value> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(self.sent()) else {
            return Map::new();
        };
        if let (Api::Chat, Some(top)) = (api, self.logprobs) {
            fields.insert("logprobs".to_owned(), true.into());
            fields.insert("top_logprobs".to_owned(), top.into());
        }
        fields
    }

    /// The keys whose values vLLM would refuse, each with what it takes.
    pub fn refused(&self) -> Vec<(&'static str, &'static str)> {
        let is = |value: Option<f64>, wanted: fn(f64) -> bool| value.is_none_or(wanted);
        let penalty = |value| is(value, |it| (-2.0..=2.0).contains(&it));
        let checks = [
            (
                "temperature",
                is(self.temperature, |it| it.is_finite() && it >= 0.0),
                "a number, 0 or more",
            ),
            (
                "top_p",
                is(self.top_p, |it| it > 0.0 && it <= 1.0),
                "a number above 0, and 1 at most",
            ),
            (
                "top_k",
                self.top_k.is_none_or(|it| it >= -1),
                "a whole number, 1 or more; 0 and -1 mean all",
            ),
            (
                "min_p",
                is(self.min_p, |it| (0.0..=1.0).contains(&it)),
                "a number from 0 to 1",
            ),
            (
                "presence_penalty",
                penalty(self.presence_penalty),
                "a number from -2 to 2",
            ),
            (
                "frequency_penalty",
                penalty(self.frequency_penalty),
                "a number from -2 to 2",
            ),
            (
                "repetition_penalty",
                is(self.repetition_penalty, |it| it.is_finite() && it > 0.0),
                "a number above 0",
            ),
        ];
        let refused = checks.into_iter().filter(|(_, is_good, _)| !is_good);
        refused.map(|(key, _, takes)| (key, takes)).collect()
    }
}

/// What a body says of a stream: with its tokens counted all along.
pub fn stream_fields() -> Map<String, Value> {
    let fields = json!({
        "stream": true,
        "stream_options": {"include_usage": true, "continuous_usage_stats": true},
    });
    let Value::Object(fields) = fields else {
        return Map::new();
    };
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_greedy_and_of_exact_length_unless_it_says_otherwise() {
        let greedy = Sampling::default();
        assert!(greedy.is_greedy() && greedy.is_exact());
        let fields = Value::Object(greedy.fields(Api::Completions));
        assert_eq!(fields, json!({"temperature": 0.0, "ignore_eos": true}));
        let drawn = Sampling {
            temperature: Some(0.7),
            ignore_eos: Some(false),
            ..Sampling::default()
        };
        assert!(!drawn.is_greedy() && !drawn.is_exact());
    }

    #[test]
    fn a_chat_asks_for_probabilities_in_its_own_words() {
        let asked = Sampling {
            logprobs: Some(2),
            ..Sampling::default()
        };
        assert_eq!(asked.fields(Api::Completions)["logprobs"], 2);
        let chat = asked.fields(Api::Chat);
        assert_eq!(
            (&chat["logprobs"], &chat["top_logprobs"]),
            (&json!(true), &json!(2))
        );
    }

    #[test]
    fn what_vllm_refuses_is_refused_here() {
        let wrong = Sampling {
            temperature: Some(-1.0),
            top_p: Some(0.0),
            top_k: Some(-2),
            min_p: Some(f64::NAN),
            presence_penalty: Some(3.0),
            frequency_penalty: Some(-3.0),
            repetition_penalty: Some(0.0),
            ..Sampling::default()
        };
        assert_eq!(wrong.refused().len(), 7);
        let good = Sampling {
            temperature: Some(1.0),
            top_p: Some(1.0),
            top_k: Some(-1),
            min_p: Some(0.0),
            ..Sampling::default()
        };
        assert_eq!(good.refused(), []);
    }
}
