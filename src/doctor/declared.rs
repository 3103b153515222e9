//! What a manifest declares, as checks ask for it.

use crate::resource::environment::EnvValue;
use crate::resource::instance::Server;

/// The network of the fast link, as manifests call it.
pub(super) const FABRIC: &str = "fabric";

/// The share of a GPU's memory that a server takes, by its arguments or by what vLLM takes unasked.
pub(super) fn share(server: &Server) -> f64 {
    let said = server.args.word("gpu_memory_utilization");
    said.and_then(|it| it.parse().ok()).unwrap_or(0.9)
}

/// The value of a variable of a server, where it is no secret.
pub(super) fn variable<'a>(server: &'a Server, name: &str) -> Option<&'a str> {
    match server.env.get(name)? {
        EnvValue::Plain(value) => Some(value),
        EnvValue::FromEnv(_) => None,
    }
}
