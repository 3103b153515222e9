//! The JSON Schema of a manifest, for editors.

use serde_json::Value;

use super::document::Document;
use super::examples;
use super::rules;
use super::short;
use crate::proxy::Alone;

/// The schema that stands in `schemas/topology.json`.
///
/// It is generated from the very types that a manifest is read into. What a schema cannot say
/// (references, ports that clash) only [`super::load`] finds.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Document).to_value();
    short::add_to(&mut schema);
    examples::add_to(&mut schema);
    rules::add_to(&mut schema);
    schema
}

/// The schema as `replica schema` prints it and `schemas/topology.json` keeps it.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

/// The schema of the file of a proxy on its own, as `replica schema --proxy` prints it and
/// `schemas/proxy.json` keeps it.
pub fn proxy_schema_text() -> String {
    format!("{:#}\n", schemars::schema_for!(Alone).to_value())
}
