//! What a schema says of keys together, and of texts, beyond their types: as much of what [`super::load`] refuses
//! as can be told without looking anything up. An editor shows it while somebody types.
//!
//! A rule never refuses what [`super::load`] takes. Those on several keys stand in an `allOf` of their own and
//! name keys by patterns, so that nobody takes them for a description of these.

use serde_json::{Value, json};

use super::examples::{defined, each_key};
use crate::simulator;

/// A value that a variable is in, which nobody knows yet.
const VARIABLE: &str = r"\$\{";

/// Adds them to the schema.
pub(super) fn add_to(schema: &mut Value) {
    for (definition, rule) in of_one_thing() {
        merge(defined(schema, definition), rule);
    }
    for definition in ["EngineDeclaration", "InstanceDeclaration"] {
        let arguments = &mut defined(schema, definition)["properties"]["args"];
        arguments["propertyNames"] = json!({
            "pattern": r"^[a-z][a-z0-9_.-]*$",
            "not": {"pattern": OWNED},
        });
        arguments["allOf"] = of_arguments();
    }
    for (section, definition) in CHANGED {
        let keys = keys(defined(schema, definition));
        let arm = &mut defined(schema, "ArmDeclaration")["properties"][section];
        match definition {
            "KvDeclaration" | "ProxyDeclaration" => arm["propertyNames"] = keys,
            // Each by a name, of which `null` takes one away.
            _ => {
                arm["additionalProperties"] =
                    json!({"type": ["object", "null"], "propertyNames": keys});
            }
        }
    }
    for (definition, keys) in FILES {
        for key in keys {
            each_key(defined(schema, definition), key, &mut |said| {
                // As seen from the manifest's folder, and no folder itself.
                said.insert("pattern".to_owned(), json!("^[^/~](.*[^/])?$"));
            });
        }
    }
    schema["$defs"]["Reach"]["pattern"] = json!(reach());
    let nodes = schema.pointer_mut("/properties/nodes/patternProperties");
    for node in nodes.and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(short) = node.1.pointer_mut("/anyOf/0") {
            short["pattern"] = json!(reach());
        }
    }
    schema["allOf"] = of_the_whole();
}

/// What an arm of a comparison changes, each with what may be changed of it.
const CHANGED: [(&str, &str); 4] = [
    ("engines", "EngineDeclaration"),
    ("instances", "InstanceDeclaration"),
    ("kv", "KvDeclaration"),
    ("proxy", "ProxyDeclaration"),
];

/// The names that the keys of a definition have.
fn keys(definition: &Value) -> Value {
    let keys = definition["properties"].as_object();
    json!({"enum": keys.into_iter().flat_map(|keys| keys.keys()).collect::<Vec<_>>()})
}

/// The keys that name a file.
const FILES: [(&str, &[&str]); 3] = [
    ("BenchmarkDeclaration", &["baseline", "save"]),
    ("Prompts", &["file", "jsonl", "sharegpt", "trace"]),
    ("Load", &["trace"]),
];

/// The arguments that replica gives itself.
const OWNED: &str =
    "^(port|host|uds|model|model[_-]tag|revision|served[_-]model[_-]name|api[_-]key|config)$";

/// `user@host:port`, an alias, or `local`.
fn reach() -> String {
    format!(r"^([^\s/@-][^\s/]*@|@[^\s/]*@)?[^\s/@-][^\s/@]*$|{VARIABLE}")
}

/// Of a definition, what its type does not say.
fn of_one_thing() -> [(&'static str, Value); 4] {
    [
        // What waits, waits for a place: there are as many as may be in flight.
        (
            "InstanceLimits",
            json!({"dependentRequired": {"queue": ["in_flight"]}}),
        ),
        (
            "ProxyDeclaration",
            json!({"properties": {"backends": {"uniqueItems": true, "minItems": 1}}}),
        ),
        (
            "EngineDeclaration",
            json!({"properties": {"packages_before": {
                "pattern": format!(r"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$|{VARIABLE}"),
            }}}),
        ),
        (
            "CompareDeclaration",
            json!({"properties": {"arms": {"minProperties": 2}}}),
        ),
    ]
}

/// An argument has a value, which is no switch in words, and leaves a server that answers over HTTP.
fn of_arguments() -> Value {
    let words = ["yes", "no", "on", "off", "true", "false"].map(|word| {
        let letters = word
            .chars()
            .map(|c| format!("[{}{c}]", c.to_ascii_uppercase()));
        letters.collect::<String>()
    });
    let is_switch = format!("^({})$", words.join("|"));
    // vLLM has none that is called so.
    let own = simulator::known_flags().filter(|flag| flag.starts_with("sim-"));
    let own: Vec<_> = own
        .flat_map(|flag| [flag.replace('-', "_"), flag.to_owned()])
        .collect();
    json!([
        {"propertyNames": {"anyOf": [{"not": {"pattern": "^sim[_-]"}}, {"enum": own}]}},
        {"additionalProperties": {"not": {"type": "null"}}},
        {"additionalProperties": {"not": {"type": "string", "pattern": is_switch}}},
        {"patternProperties": {
            "^gpu[_-]memory[_-]utilization$": {
                "type": ["number", "string"],
                "exclusiveMinimum": 0,
                "maximum": 1,
            },
            "^headless$": {"not": {"const": true}},
            "^api[_-]server[_-]count$": {"minimum": 1},
            "^ssl[_-](certfile|keyfile)$": false,
        }},
    ])
}

/// What must be there for what else is.
fn of_the_whole() -> Value {
    let some = |key: &str| {
        let name = format!("^{key}$");
        json!({"required": [key], "patternProperties": {name: {"type": "object", "minProperties": 1}}})
    };
    let has_role = json!({
        "required": ["role"],
        "patternProperties": {"^role$": {"enum": ["prefill", "decode"]}},
    });
    let is_named = json!({
        "required": ["endpoint"],
        "patternProperties": {"^endpoint$": {"type": "object"}},
    });
    let is_cold = json!({
        "required": ["warmup"],
        "patternProperties": {"^warmup$": {"anyOf": [
            {"const": 0},
            {"required": ["per_instance"], "patternProperties": {"^per_instance$": {"const": 0}}},
            {"required": ["max"], "patternProperties": {"^max$": {"const": 1}}},
        ]}},
    });
    json!([
        {"patternProperties": {"^(nodes|instances)$": {"minProperties": 1}}},
        // A proxy, and what is measured, have an instance behind them.
        {"if": some("proxy"), "then": {"required": ["instances"]}},
        {"if": some("benchmarks"), "then": {"required": ["instances"]}},
        {"if": some("compare"), "then": some("benchmarks")},
        // Where all of them are compared, all are warmed.
        {
            "if": {
                "required": ["compare"],
                "patternProperties": {"^compare$": {"type": "object", "not": {"required": ["benchmarks"]}}},
            },
            "then": {"patternProperties": {"^benchmarks$": {"additionalProperties": {"not": is_cold}}}},
        },
        // Without a proxy, of several it is said which is measured.
        {
            "if": {
                "not": {"required": ["proxy"]},
                "required": ["instances"],
                "patternProperties": {"^instances$": {"minProperties": 2}},
            },
            "then": {"patternProperties": {"^benchmarks$": {"additionalProperties": is_named}}},
        },
        // What is handed over is so in some way.
        {
            "if": {
                "required": ["instances"],
                "patternProperties": {
                    "^instances$": {"not": {"additionalProperties": {"not": has_role}}},
                },
            },
            "then": {"required": ["kv"]},
        },
    ])
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Reach;

    /// What a schema refuses, nobody could have reached.
    #[test]
    fn every_way_to_reach_a_node_is_one_for_the_schema() {
        let schema = json!({"type": "string", "pattern": reach()});
        let validator = jsonschema::validator_for(&schema).unwrap();
        for (text, is_good) in [
            ("local", true),
            ("spark", true),
            ("me@host", true),
            ("me@corp@host:22", true),
            ("[::1]:22", true),
            ("fe80::1%eth0", true),
            ("me@[fe80::1]", true),
            ("${HOST:-a/b}", true),
            ("me@", false),
            ("@b", false),
            ("-oProxyCommand=evil", false),
            ("me@-x", false),
            ("ssh://me@e", false),
            ("a b", false),
        ] {
            assert_eq!(validator.is_valid(&json!(text)), is_good, "{text}");
            let is_known = text.parse::<Reach>().is_ok();
            assert!(is_good || !is_known, "{text}");
        }
    }

    #[test]
    fn a_switch_is_no_text_and_a_text_may_hold_one() {
        let schema = json!({"type": "object", "allOf": of_arguments()});
        let validator = jsonschema::validator_for(&schema).unwrap();
        for (text, is_good) in [
            (r#"{"a": true}"#, true),
            (r#"{"a": "yes"}"#, false),
            (r#"{"a": "OFF"}"#, false),
            (r#"{"a": "none", "b": "${ON}"}"#, true),
            (r#"{"a": null}"#, false),
            (r#"{"gpu-memory-utilization": 30}"#, false),
            (
                r#"{"gpu_memory_utilization": 0.3, "headless": false}"#,
                true,
            ),
            (r#"{"headless": true}"#, false),
            (r#"{"ssl_keyfile": "x"}"#, false),
            (r#"{"sim_load_seconds": 1, "sim-wedge-after": 2}"#, true),
            (r#"{"sim_wedge": 4}"#, false),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(validator.is_valid(&value), is_good, "{text}");
        }
    }
}
