//! Text becomes a topology, or an explanation that points at the line.
//!
//! [`load`] reads a file in three steps, each of which goes on to the end and adds to one list of
//! mistakes: the text becomes a tree in which everything knows where it stands (`tree`), with its
//! variables filled in and its short forms written out (`variables`, `short`), the tree
//! becomes a [`Document`](document::Document) of the types that the rooms declare (`typed`), and
//! the rules that no single room can know are checked on that (`check`), which makes of it what it
//! means: a [`Topology`](crate::resource::Topology). Whatever was reported once is replaced by a
//! stand-in and not reported again.
//!
//! What a kind's declaration looks like is left to its room.

mod access;
mod arms;
mod check;
mod describe;
mod document;
mod examples;
mod explain;
mod fault;
mod file;
mod fmt;
mod job;
mod marks;
mod overlay;
mod parse;
mod problem;
mod proxy_file;
mod reference;
mod remark;
mod rules;
mod scalar;
mod schema;
mod secrets;
mod short;
mod slips;
mod stand_in;
mod suggest;
mod syntax;
mod tree;
mod typed;
mod variables;

#[cfg(test)]
mod tests;

pub use explain::{Explained, Explanation, Unexplained, explain, explain_all};
pub use file::{Manifest, find, load, load_alone, read};
pub use fmt::{Formatted, formatted};
pub use job::{JobFile, load_job};
pub use problem::{ManifestError, Problem};
pub use proxy_file::load_proxy;
pub use reference::reference_text;
pub use remark::{Remark, Severity};
pub use schema::{proxy_schema_text, schema, schema_text};
pub(crate) use secrets::is_name_of_secret;
pub use variables::{Given, Variables};
