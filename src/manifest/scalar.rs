//! What a scalar means: the core schema of YAML 1.2, in which `no` is a text and `012` is twelve.

use std::borrow::Cow;

/// A scalar as it is written, and as it is meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar {
    /// Its text, after quotes and escapes.
    pub(super) text: String,
    /// What the text means.
    pub(super) meaning: Meaning,
}

/// What a scalar means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    /// Nothing at all stands there.
    Empty,
    /// `null` or `~`.
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number beyond `i64`.
    Large(u64),
    Float(f64),
    Text,
}

impl Scalar {
    /// Reads a scalar that stands without quotes.
    pub(super) fn plain(text: String) -> Self {
        let meaning = meaning(&text);
        Self { text, meaning }
    }

    /// Reads a scalar that quotes, a block, or `!!str` make a text.
    pub(super) fn text(text: String) -> Self {
        let meaning = Meaning::Text;
        Self { text, meaning }
    }

    /// The text of a number, as far as others than YAML read it so: `0x1F` is 31.
    pub(super) fn decimal(&self) -> Option<Cow<'_, str>> {
        let is_based = self.text.starts_with("0x") || self.text.starts_with("0o");
        match self.meaning {
            Meaning::Int(number) if is_based => Some(number.to_string().into()),
            Meaning::Large(number) if is_based => Some(number.to_string().into()),
            Meaning::Int(_) | Meaning::Large(_) | Meaning::Float(_) => {
                Some(self.text.as_str().into())
            }
            Meaning::Empty | Meaning::Null | Meaning::Bool(_) | Meaning::Text => None,
        }
    }
}

fn meaning(text: &str) -> Meaning {
    match text {
        "" => Meaning::Empty,
        "~" | "null" | "Null" | "NULL" => Meaning::Null,
        "true" | "True" | "TRUE" => Meaning::Bool(true),
        "false" | "False" | "FALSE" => Meaning::Bool(false),
        _ => number(text).unwrap_or(Meaning::Text),
    }
}

fn number(text: &str) -> Option<Meaning> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return based(hex, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return based(octal, 8);
    }
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Some(whole(text));
    }
    float(text, digits).map(Meaning::Float)
}

fn based(digits: &str, radix: u32) -> Option<Meaning> {
    // `from_str_radix` would take a sign.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    Some(i64::try_from(number).map_or(Meaning::Large(number), Meaning::Int))
}

fn whole(text: &str) -> Meaning {
    if let Ok(number) = text.parse() {
        return Meaning::Int(number);
    }
    match text.parse() {
        Ok(number) => Meaning::Large(number),
        Err(_) => Meaning::Float(text.parse().unwrap_or(f64::INFINITY)),
    }
}

fn float(text: &str, unsigned: &str) -> Option<f64> {
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if text == unsigned => return Some(f64::NAN),
        _ => {}
    }
    // Rust also reads `inf`, `nan` and `infinity`, which are texts in YAML.
    let numeric = unsigned.bytes().any(|b| b.is_ascii_digit())
        && unsigned
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    numeric.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_as_it_is_written_unless_its_base_is_not_ten() {
        let decimal = |text: &str| {
            let scalar = Scalar::plain(text.to_owned());
            scalar.decimal().map(Cow::into_owned)
        };
        for text in ["0.30", "1e-3", "012", "+7", "-.5", "18446744073709551616"] {
            assert_eq!(decimal(text).as_deref(), Some(text));
        }
        assert_eq!(decimal("0x1F").as_deref(), Some("31"));
        assert_eq!(
            decimal("0xFFFFFFFFFFFFFFFF").as_deref(),
            Some("18446744073709551615")
        );
        assert_eq!(decimal("0o17").as_deref(), Some("15"));
        for text in ["1_000", "true", "~", ""] {
            assert_eq!(decimal(text), None, "{text}");
        }
        assert_eq!(Scalar::text("0.30".to_owned()).decimal(), None);
    }

    #[test]
    fn scalars_mean_what_yaml_1_2_says() {
        for text in [
            "no",
            "yes",
            "on",
            "2.9.1",
            "0.13.0+cu130",
            "inf",
            "nan",
            "1_000",
            "-",
            "e5",
        ] {
            assert_eq!(meaning(text), Meaning::Text, "{text}");
        }
        for (text, number) in [
            ("012", 12),
            ("-7", -7),
            ("+7", 7),
            ("0x1F", 31),
            ("0o17", 15),
        ] {
            assert_eq!(meaning(text), Meaning::Int(number), "{text}");
        }
        for (text, number) in [
            ("0.3", 0.3),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("-.inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(meaning(text), Meaning::Float(number), "{text}");
        }
        assert_eq!(meaning("18446744073709551615"), Meaning::Large(u64::MAX));
        assert_eq!(meaning(""), Meaning::Empty);
        assert_eq!(meaning("~"), Meaning::Null);
    }
}
