//! Reads what somebody else has: a recipe, or a command line.

use serde_json::{Map, Value};

use super::asked::{Asked, Unreadable, runs_containers};
use super::{command_line, recipe};

impl Asked {
    /// Reads what somebody has: a recipe of sparkrun, or a text in which vLLM is started.
    ///
    /// # Errors
    ///
    /// When it is neither, or asks for what is not vLLM.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        // A command line is a text to YAML, and a recipe is a map.
        let is_recipe = |map: &Map<String, Value>| {
            let mut keys = ["model", "recipe_version", "command"].iter();
            keys.any(|key| map.contains_key(*key))
        };
        match serde_yaml::from_str::<Value>(text) {
            Ok(Value::Object(map)) if is_recipe(&map) => recipe::read(&map),
            // What a shell would make of it says nothing of what is wrong with it.
            Err(why) if reads_like_a_recipe(text) => Err(Unreadable::new(
                format!(
                    "it reads like a recipe of sparkrun, and is not YAML: {}",
                    first_line(&why.to_string())
                ),
                "mend it there: levels are indented by blanks, and no key stands twice",
            )),
            _ => command_line::read(text),
        }
    }

    /// Whether this is a command line itself, and not the name of a file that has one.
    pub fn is_command_line(text: &str) -> bool {
        let mut words = text.split_whitespace();
        words.any(|word| word == "serve" || word.ends_with("api_server") || runs_containers(word))
    }
}

/// Whether a text has the keys of a recipe where a recipe has them.
fn reads_like_a_recipe(text: &str) -> bool {
    let keys = ["model:", "recipe_version:"];
    text.lines()
        .any(|line| keys.iter().any(|key| line.starts_with(key)))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
