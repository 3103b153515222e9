//! Who answers: before anything is measured, every instance shows the name that only it has.

use serde_json::Value;

use super::client::Client;
use crate::plan::{Failure, Target};

/// Checks that each target's `/v1/models` names its nonce.
pub(super) async fn verify(client: &Client, targets: &[Target]) -> Result<(), Failure> {
    for target in targets {
        let at = format!("instance `{}` at {}", target.name, target.authority);
        let (status, body) = client
            .get(&target.authority, "/v1/models")
            .await
            .map_err(|why| Failure::new(format!("{at} does not answer: {why}")))
            .map_err(|failure| failure.hinted(look_at_its_log(&target.name)))?;
        if status != 200 {
            let failure = Failure::new(format!("{at} answers {status} to /v1/models"));
            return Err(failure.hinted(look_at_its_log(&target.name)));
        }
        if !names(&body).contains(&target.nonce) {
            return Err(Failure::new(format!(
                "{at} is not the process that was started: it does not serve `{}`",
                target.nonce
            ))
            .hinted("another server holds the port; `replica status` names it, `replica apply` mends it"));
        }
    }
    Ok(())
}

/// What to do about an instance that does not do what it should.
pub(super) fn look_at_its_log(instance: &str) -> String {
    format!("look at `replica logs instance.{instance}`")
}

pub(super) fn names(body: &[u8]) -> Vec<String> {
    let listed = listed(body).into_iter();
    listed.map(|listed| listed.name).collect()
}

/// The names of a list of models, the first of each model: several that have one `root` are names of
/// one, of which vLLM answers with the first.
pub(super) fn first_names(body: &[u8]) -> Vec<String> {
    let mut models: Vec<Listed> = Vec::new();
    for one in listed(body) {
        let is_another = |other: &Listed| one.root.is_none() || one.root != other.root;
        if models.iter().all(is_another) {
            models.push(one);
        }
    }
    models.into_iter().map(|listed| listed.name).collect()
}

/// A line of a list of models.
struct Listed {
    name: String,
    /// What is served under that name, where the server says it.
    root: Option<String>,
}

fn listed(body: &[u8]) -> Vec<Listed> {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let models = document["data"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let listed = models.iter().filter_map(|model| {
        Some(Listed {
            name: text(&model["id"])?,
            root: text(&model["root"]),
        })
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_root_are_names_of_one_model() {
        let list = br#"{"data":[{"id":"llama","root":"/m/llama"},{"id":"replica-1","root":"/m/llama"},
                                 {"id":"adapter","root":"/m/lora","parent":"llama"},{"id":"other"},{"id":"more"}]}"#;
        assert_eq!(first_names(list), ["llama", "adapter", "other", "more"]);
    }

    #[test]
    fn a_body_that_is_no_list_names_nobody() {
        assert!(names(b"<html>").is_empty());
        assert!(names(b"{\"data\": 3}").is_empty());
        assert_eq!(
            names(br#"{"data":[{"id":"tiny"},{"id":"replica-1"},{}]}"#).len(),
            2
        );
    }
}
