//! /v1/models: a card for each name.

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Server};

/// Lists the names that this server answers to.
pub(super) fn list(server: &Server) -> Answer {
    let cards: Vec<_> = server.names.iter().map(|name| card(server, name)).collect();
    Answer::json(StatusCode::OK, &json!({"object": "list", "data": cards}))
}

fn card(server: &Server, name: &str) -> Value {
    // vLLM makes the cards anew each time: this is not when the server started.
    let created = Timestamp::now().as_second();
    json!({
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": server.options.model,
        "parent": null,
        "max_model_len": server.limits.max_model_len,
        "permission": [{
            "id": format!("modelperm-{:016x}", fastrand::u64(..)),
            "object": "model_permission",
            "created": created,
            "allow_create_engine": false,
            "allow_sampling": true,
            "allow_logprobs": true,
            "allow_search_indices": false,
            "allow_view": true,
            "allow_fine_tuning": false,
            "organization": "*",
            "group": null,
            "is_blocking": false,
        }],
    })
}
