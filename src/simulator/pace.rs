//! How fast an engine computes, as it is written: behind `--sim-pace`, and in a file of `replica profile`.

use std::fs;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::physics::Pace;

/// How fast an engine computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenPace {
    /// Milliseconds of a step by the number of sequences in it, without what of them is in the KV cache:
    /// linear between the points, and beyond them with the slope of the nearest two.
    pub step_ms: Vec<(f64, f64)>,
    /// Microseconds to read one token of the KV cache, which each step does of all its sequences.
    #[serde(default)]
    pub token_read_us: f64,
    /// Microseconds for one token of a prompt.
    #[serde(default)]
    pub prompt_token_us: f64,
    /// Nanoseconds for the attention of one token of a prompt to another.
    #[serde(default)]
    pub pair_ns: f64,
}

impl WrittenPace {
    /// The key under which a file has it that has more.
    const KEY: &str = "pace";

    /// As steps are timed by it.
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            step_ms: self.step_ms.clone().into(),
            token_read: self.token_read_us / 1e6,
            prompt_token: self.prompt_token_us / 1e6,
            pair: self.pair_ns / 1e9,
        }
    }

    fn checked(self) -> Result<Self, String> {
        let ascends = self.step_ms.is_sorted_by(|(a, _), (b, _)| a < b);
        let times = self.step_ms.iter().map(|(_, ms)| *ms);
        let rest = [self.token_read_us, self.prompt_token_us, self.pair_ns];
        let are_times = times
            .chain(rest)
            .all(|time| time.is_finite() && time >= 0.0);
        if self.step_ms.is_empty() || !ascends || !are_times {
            let form = "`step_ms` needs a point or more, as in [[1, 67.4], [64, 100]], from the fewest \
                        sequences to the most, and no time is less than 0";
            return Err(form.to_owned());
        }
        Ok(self)
    }
}

impl From<&Pace> for WrittenPace {
    fn from(pace: &Pace) -> Self {
        // Four digits are finer than anything that was measured.
        let tidy = |value: f64| format!("{value:.3e}").parse().unwrap_or(value);
        let points = pace.step_ms.iter();
        Self {
            step_ms: points.map(|(at, ms)| (*at, tidy(*ms))).collect(),
            token_read_us: tidy(pace.token_read * 1e6),
            prompt_token_us: tidy(pace.prompt_token * 1e6),
            pair_ns: tidy(pace.pair * 1e9),
        }
    }
}

impl FromStr for WrittenPace {
    type Err = String;

    /// Reads it as JSON, or out of the file that is named.
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || fs::read_to_string(text).map_err(|why| format!("cannot read it: {why}"));
        let text = if text.trim_start().starts_with('{') {
            text.to_owned()
        } else {
            read()?
        };
        let mut value: Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
        if let Some(inner) = value.get_mut(Self::KEY) {
            value = inner.take();
        }
        let pace: Self = serde_json::from_value(value).map_err(|why| why.to_string())?;
        pace.checked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_json_and_out_of_files() {
        let json = r#"{"step_ms": [[1, 5.0], [8, 7.5]], "prompt_token_us": 40}"#;
        let pace: WrittenPace = json.parse().unwrap();
        assert_eq!(pace.step_ms, [(1.0, 5.0), (8.0, 7.5)]);
        assert_eq!(WrittenPace::from(&pace.pace()), pace);
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("mine.json");
        fs::write(&file, format!(r#"{{"schema": "x", "pace": {json}}}"#)).unwrap();
        assert_eq!(file.to_str().unwrap().parse(), Ok(pace));
    }

    #[test]
    fn what_is_no_pace_says_why() {
        let why = |text: &str| text.parse::<WrittenPace>().unwrap_err();
        assert!(why("nowhere.json").starts_with("cannot read it"));
        assert!(why("{}").contains("step_ms"));
        assert!(why(r#"{"step_ms": [[8, 1], [1, 2]]}"#).contains("from the fewest"));
        assert!(why(r#"{"step_ms": [[1, -1]]}"#).contains("less than 0"));
        assert!(why(r#"{"step_ms": [[1, 1]], "prompt": 2}"#).contains("unknown field `prompt`"));
    }
}
