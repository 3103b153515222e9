//! Lengths in tokens: one for all, or drawn.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::dice::Dice;
use super::form::{InvalidPrompts, PromptsPart};
use crate::written::NUMBER_AS_WRITTEN;

/// How often a length is drawn that falls out of its bounds, before the nearer bound is taken.
const DRAWS: usize = 100;

/// A length as a manifest writes it: `256`, `{uniform: [32, 128]}`,
/// `{normal: {mean: 512, sigma: 64, max: 1024}}`,
/// `{lognormal: {median: 4000, sigma: 0.4, min: 512, max: 8192}}`.
#[derive(Debug, Clone, PartialEq)]
pub enum LengthDeclaration {
    /// The same for all.
    Fixed(u32),
    /// Drawn for each.
    Drawn(Spread),
}

/// How a length is drawn, by one of these keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Every length from the first to the second is as likely: `[32, 128]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 2))]
    pub uniform: Option<Vec<u32>>,
    /// A normal distribution within its bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal: Option<Normal>,
    /// A distribution whose logarithm is normal, within its bounds: most are short, a few are long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lognormal: Option<LogNormal>,
}

/// A normal distribution, in tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normal {
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation.
    pub sigma: f64,
    /// The shortest; default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub min: u32,
    /// The longest.
    #[schemars(range(min = 1))]
    pub max: u32,
}

/// A lognormal distribution, in tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogNormal {
    /// Half of the lengths are above it, but for the bounds.
    pub median: f64,
    /// The standard deviation of the natural logarithm.
    pub sigma: f64,
    /// The shortest; default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub min: u32,
    /// The longest.
    #[schemars(range(min = 1))]
    pub max: u32,
}

fn one() -> u32 {
    1
}

/// A length as it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Length {
    Fixed(u32),
    Uniform {
        min: u32,
        max: u32,
    },
    Normal {
        mean: f64,
        sigma: f64,
        min: u32,
        max: u32,
    },
    LogNormal {
        median: f64,
        sigma: f64,
        min: u32,
        max: u32,
    },
}

impl Length {
    pub(super) fn draw(self, dice: &mut Dice) -> u32 {
        match self {
            Self::Fixed(length) => length,
            Self::Uniform { min, max } => min + dice.below(max - min + 1),
            Self::Normal {
                mean,
                sigma,
                min,
                max,
            } => within(min, max, || mean + sigma * dice.normal()),
            Self::LogNormal {
                median,
                sigma,
                min,
                max,
            } => within(min, max, || median * (sigma * dice.normal()).exp()),
        }
    }

    /// The shortest that can be drawn.
    pub(super) fn least(self) -> u32 {
        match self {
            Self::Fixed(length) => length,
            Self::Uniform { min, .. } | Self::Normal { min, .. } | Self::LogNormal { min, .. } => {
                min
            }
        }
    }

    /// The longest that can be drawn.
    pub(super) fn most(self) -> u32 {
        match self {
            Self::Fixed(length) => length,
            Self::Uniform { max, .. } | Self::Normal { max, .. } | Self::LogNormal { max, .. } => {
                max
            }
        }
    }
}

/// Draws until it falls within bounds: so the shape between them stays what it is, and nothing piles
/// up at their ends.
fn within(min: u32, max: u32, mut draw: impl FnMut() -> f64) -> u32 {
    let (low, high) = (f64::from(min), f64::from(max));
    let mut last = low;
    for _ in 0..DRAWS {
        last = draw().round();
        if (low..=high).contains(&last) {
            break;
        }
    }
    last.clamp(low, high) as u32
}

impl LengthDeclaration {
    /// What it means; `path` is where it stands among the prompts.
    pub(super) fn meant(&self, path: &[&str]) -> Result<Length, Vec<InvalidPrompts>> {
        match self {
            Self::Fixed(0) => Err(vec![InvalidPrompts::new(
                PromptsPart::value(path),
                format!("`{}` must be 1 or more", path.last().unwrap_or(&"length")),
                "it is a number of tokens",
            )]),
            Self::Fixed(length) => Ok(Length::Fixed(*length)),
            Self::Drawn(spread) => spread.meant(path),
        }
    }
}

impl Spread {
    fn meant(&self, path: &[&str]) -> Result<Length, Vec<InvalidPrompts>> {
        let named = [
            self.uniform.as_ref().map(|ends| uniform(ends, path)),
            self.normal.as_ref().map(|it| it.meant(path)),
            self.lognormal.as_ref().map(|it| it.meant(path)),
        ];
        let mut named: Vec<_> = named.into_iter().flatten().collect();
        match (named.pop(), named.is_empty()) {
            (Some(only), true) => only,
            (last, _) => Err(vec![InvalidPrompts::new(
                PromptsPart::value(path),
                match last {
                    Some(_) => "a length is drawn in one way",
                    None => "it does not say how a length is drawn",
                },
                "write a number, or one of `uniform`, `normal` and `lognormal`",
            )]),
        }
    }
}

fn uniform(ends: &[u32], path: &[&str]) -> Result<Length, Vec<InvalidPrompts>> {
    match *ends {
        [min, max] if 0 < min && min <= max && max < u32::MAX => Ok(Length::Uniform { min, max }),
        _ => Err(vec![InvalidPrompts::new(
            PromptsPart::value(&[path, &["uniform"]].concat()),
            "`uniform` is the shortest and the longest of what is drawn",
            "write them in that order, 1 or more, as in `[32, 128]`",
        )]),
    }
}

impl Normal {
    fn meant(&self, path: &[&str]) -> Result<Length, Vec<InvalidPrompts>> {
        let path = [path, &["normal"]].concat();
        let Self {
            mean,
            sigma,
            min,
            max,
        } = *self;
        check(&path, [("mean", mean), ("sigma", sigma)], (min, max))?;
        Ok(Length::Normal {
            mean,
            sigma,
            min,
            max,
        })
    }
}

impl LogNormal {
    fn meant(&self, path: &[&str]) -> Result<Length, Vec<InvalidPrompts>> {
        let path = [path, &["lognormal"]].concat();
        let Self {
            median,
            sigma,
            min,
            max,
        } = *self;
        check(&path, [("median", median), ("sigma", sigma)], (min, max))?;
        Ok(Length::LogNormal {
            median,
            sigma,
            min,
            max,
        })
    }
}

/// A distribution has a middle and a spread that are numbers, and bounds that hold something.
fn check(
    path: &[&str],
    numbers: [(&'static str, f64); 2],
    (min, max): (u32, u32),
) -> Result<(), Vec<InvalidPrompts>> {
    let at = |key: &'static str| PromptsPart::value(&[path, &[key]].concat());
    let no_number = numbers.into_iter();
    let no_number = no_number.filter(|(_, value)| !(value.is_finite() && *value > 0.0));
    let mut wrong: Vec<_> = no_number
        .map(|(key, _)| {
            let title = format!("`{key}` must be a number above 0");
            InvalidPrompts::new(at(key), title, "it is one of a distribution of tokens")
        })
        .collect();
    if min == 0 {
        let title = "`min` must be 1 or more";
        wrong.push(InvalidPrompts::new(
            at("min"),
            title,
            "it is a number of tokens",
        ));
    }
    if max < min.max(1) {
        let title = format!("`max` must be {} or more", min.max(1));
        wrong.push(InvalidPrompts::new(
            at("max"),
            title,
            "it is the longest that is drawn",
        ));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

impl Serialize for LengthDeclaration {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(length) => out.serialize_u32(*length),
            Self::Drawn(spread) => spread.serialize(out),
        }
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = LengthDeclaration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tokens, or how it is drawn, as in `{uniform: [32, 128]}`")
    }

    /// A number as it was written.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<LengthDeclaration, E> {
        let length = str::from_utf8(text).ok().and_then(|text| {
            let text = text.strip_prefix('+').unwrap_or(text);
            text.parse().ok()
        });
        let length = length.ok_or_else(|| E::custom("it is no whole number of tokens"))?;
        Ok(LengthDeclaration::Fixed(length))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        input: D,
    ) -> Result<LengthDeclaration, D::Error> {
        input.deserialize_any(self)
    }

    fn visit_u64<E: Error>(self, length: u64) -> Result<LengthDeclaration, E> {
        self.visit_bytes(length.to_string().as_bytes())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LengthDeclaration, A::Error> {
        Spread::deserialize(MapAccessDeserializer::new(map)).map(LengthDeclaration::Drawn)
    }
}

impl<'de> Deserialize<'de> for LengthDeclaration {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_newtype_struct(NUMBER_AS_WRITTEN, Written)
    }
}

impl JsonSchema for LengthDeclaration {
    fn schema_name() -> Cow<'static, str> {
        "Length".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let spread = generator.subschema_for::<Spread>();
        json_schema!({
            "description": "A number of tokens, the same for all, or drawn for each.",
            "anyOf": [{"type": "integer", "minimum": 1}, spread],
            "examples": [256, {"uniform": [32, 128]}]
        })
    }
}
