//! The specification that a process carries, and how two of them differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::plan::{Field, Planned};

/// The digest of a specification, the same whatever the order of its keys.
pub fn fingerprint(spec: &Value) -> String {
    let digest = Sha256::digest(canonical(spec).to_string().as_bytes());
    hex(&digest[..6])
}

/// The same value with the keys of every map in order.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> =
                map.iter().map(|(k, v)| (k.clone(), canonical(v))).collect();
            Value::Object(sorted.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// Compares two specifications leaf by leaf.
///
/// A field that is missing on one side is no difference where the other side holds nothing but
/// null, false, or an empty text, list or map: so a newer `replica`, whose specifications have a
/// field more, plans nothing for what an older one started.
///
/// The maps named in `verbatim` are filled by whoever writes the manifest: there, what is missing
/// is left to somebody else's default, and `false` or an empty text is another thing. Only null is
/// as good as missing.
pub fn differences(old: &Value, new: &Value, verbatim: &[&str]) -> Vec<Field> {
    let mut comparison = Comparison {
        verbatim,
        fields: Vec::new(),
    };
    comparison.compare("", Some(old), Some(new));
    comparison.fields
}

struct Comparison<'a> {
    verbatim: &'a [&'a str],
    fields: Vec<Field>,
}

impl Comparison<'_> {
    fn compare(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>) {
        let none = Map::new();
        match (old, new) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => self.compare_maps(path, a, b),
            (Some(Value::Object(a)), None) if !self.is_filled(path) => {
                self.compare_maps(path, a, &none);
            }
            (None, Some(Value::Object(b))) if !self.is_filled(path) => {
                self.compare_maps(path, &none, b);
            }
            (old, new) if self.is_same(path, old, new) => {}
            (old, new) => self.fields.push(Field {
                path: path.to_owned(),
                old: old.cloned(),
                new: new.map_or(Planned::Gone, |value| Planned::Known(value.clone())),
                forces_replacement: true,
            }),
        }
    }

    fn compare_maps(&mut self, path: &str, a: &Map<String, Value>, b: &Map<String, Value>) {
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for key in keys {
            let below = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            self.compare(&below, a.get(key), b.get(key));
        }
    }

    /// Whether a path is inside one of the maps that are taken verbatim.
    fn is_filled(&self, path: &str) -> bool {
        let inside = |map: &&str| {
            path.strip_prefix(*map)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        self.verbatim.iter().any(inside)
    }

    fn is_same(&self, path: &str, old: Option<&Value>, new: Option<&Value>) -> bool {
        match (old, new) {
            (Some(a), Some(b)) => a == b || is_same_number(a, b),
            (Some(only), None) | (None, Some(only)) if self.is_filled(path) => only.is_null(),
            (Some(only), None) | (None, Some(only)) => is_nothing(only),
            (None, None) => true,
        }
    }
}

/// `1` and `1.0` are one number: YAML writers mean nothing by the difference. Whole numbers that
/// differ are never one, however large.
fn is_same_number(a: &Value, b: &Value) -> bool {
    (a.is_f64() || b.is_f64())
        && matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a.to_bits() == b.to_bits())
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// How what stood for a secret began before nodes had keys of their own.
pub const PLAIN_DIGEST: &str = "secret:";

/// What stood for a secret then, in the specifications of servers that still run: whoever knew the
/// topology could guess at it, so that nothing is marked by it any more.
pub fn plain_digest(topology: &str, name: &str, value: &str) -> String {
    let mut digest = Sha256::new();
    for part in ["replica secret v1", topology, name, value] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    format!("{PLAIN_DIGEST}{}", hex(&digest.finalize()[..6]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_leaf_is_named_by_its_path() {
        let old = json!({"args": {"max_num_seqs": 64, "dtype": "auto"}, "port": 8100});
        let new = json!({"port": 8100, "args": {"dtype": "auto", "max_num_seqs": 128}});
        let fields = differences(&old, &new, &[]);
        assert_eq!(fields.len(), 1);
        assert_eq!(fields[0].path, "args.max_num_seqs");
        assert_eq!(fields[0].new, Planned::Known(json!(128)));
    }

    #[test]
    fn a_field_that_a_newer_version_added_is_no_difference() {
        let old = json!({"args": {}});
        let new = json!({"args": {}, "env": {}, "role": null, "host": "", "strict": false});
        assert_eq!(differences(&old, &new, &["args"]), []);
        assert_eq!(differences(&new, &old, &["args"]), []);
        let some = json!({"a": {"b": 1}});
        assert_eq!(differences(&some, &json!({}), &[]).len(), 1);
        assert_eq!(differences(&json!({}), &json!({"args": {}}), &["args"]), []);
    }

    #[test]
    fn in_a_map_that_a_person_fills_nothing_is_not_false() {
        let verbatim = ["args", "env"];
        let old = json!({"args": {}, "env": {}, "argsy": {}});
        for new in [
            json!({"args": {"prefix_caching": false}}),
            json!({"args": {"prefix_caching": {}}}),
            json!({"args": {"prefix_caching": []}}),
            json!({"env": {"CUDA_VISIBLE_DEVICES": ""}}),
        ] {
            assert_eq!(differences(&old, &new, &verbatim).len(), 1, "{new}");
            assert_eq!(differences(&new, &old, &verbatim).len(), 1, "{new}");
            assert_eq!(differences(&old, &new, &[]), [], "{new}");
        }
        let null = json!({"args": {"seed": null}, "argsy": {"x": false}});
        assert_eq!(differences(&old, &null, &verbatim), []);
    }

    #[test]
    fn large_whole_numbers_are_told_apart() {
        let of = |n: u64| json!({"seed": n});
        let large = 1 << 53;
        assert_eq!(differences(&of(large), &of(large + 1), &[]).len(), 1);
        assert_eq!(differences(&of(large), &of(large), &[]), []);
    }

    #[test]
    fn the_order_of_keys_is_no_difference() {
        assert_eq!(
            fingerprint(&json!({"a": 1, "b": {"c": 2, "d": 3}})),
            fingerprint(&json!({"b": {"d": 3, "c": 2}, "a": 1}))
        );
        assert_eq!(differences(&json!({"u": 1}), &json!({"u": 1.0}), &[]), []);
    }

    #[test]
    fn what_older_versions_marked_secrets_by_is_known() {
        let digest = plain_digest("t", "HF_TOKEN", "hf_abc");
        assert_eq!(digest, "secret:5b5c4570a58e");
        assert_ne!(digest, plain_digest("t", "HF_TOKEN", "hf_abd"));
    }
}
