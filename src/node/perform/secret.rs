//! Secrets, had at the moment at which they are needed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::node::{Command, Fleet, Node, NodeKey, quote_path, variable};
use crate::plan::Failure;
use crate::plan::effect::{Secret, ServerKey};

/// The random key of a topology on a node. It is made where it is missing, after the log of what
/// is about to be started with it, if anything is.
///
/// # Errors
///
/// When it can be neither read nor made, or is damaged.
pub(super) async fn make_node_key(
    node: &Node,
    file: &str,
    log: Option<&str>,
) -> Result<NodeKey, Failure> {
    let script = format!(
        "r_key={} r_log={}\n{}",
        quote_path(file),
        log.map(quote_path).unwrap_or_default(),
        include_str!("../script/node_key.sh")
    );
    node_key(node, file, script).await
}

async fn read_node_key(node: &Node, file: &str) -> Result<NodeKey, Failure> {
    node_key(node, file, format!("cat -- {}", quote_path(file))).await
}

async fn node_key(node: &Node, file: &str, script: String) -> Result<NodeKey, Failure> {
    let output = node.run(&Command::script(script)).await?;
    if !output.success() {
        let why = output.complaint();
        return Err(Failure::new(format!("`{file}` cannot be had: {why}")));
    }
    output.text().trim().parse().map_err(|error| {
        Failure::new(format!("`{file}` is damaged: {error}")).hinted(
            "remove it there and apply again: servers that have their keys by it are replaced",
        )
    })
}

/// A secret of a server that is on this node, for somebody who wants it for this.
///
/// # Errors
///
/// When the variable is not set here, or the node's key cannot be read.
pub(super) async fn secret(node: &Node, secret: &Secret, wanted: &str) -> Result<String, Failure> {
    match secret {
        Secret::Variable(source) => variable(source).ok_or_else(|| missing(wanted, source)),
        Secret::ServerKey(key) => {
            let node_key = read_node_key(node, &key.node_key).await?;
            Ok(node_key.server_key(&key.nonce))
        }
    }
}

/// The keys of many servers, each by a name of the caller's; each node is asked once.
///
/// # Errors
///
/// When a node cannot be reached, or its key cannot be read.
pub(super) async fn server_keys<'a>(
    fleet: &Fleet,
    keys: impl Iterator<Item = (&'a str, &'a ServerKey)>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut node_keys = BTreeMap::new();
    let mut found = BTreeMap::new();
    for (name, key) in keys {
        let node_key = match node_keys.entry((&key.node, &key.node_key)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let node = fleet.node(&key.node)?;
                place.insert(read_node_key(node, &key.node_key).await?)
            }
        };
        found.insert(name.to_owned(), node_key.server_key(&key.nonce));
    }
    Ok(found)
}

/// The API keys of a measurement, by whom each is shown to.
///
/// # Errors
///
/// When a variable is not set here, or the key of a server cannot be read on its node.
pub async fn api_keys(
    fleet: &Fleet,
    keys: &BTreeMap<String, Secret>,
) -> Result<BTreeMap<String, String>, Failure> {
    let of_servers = keys.iter().filter_map(|(authority, secret)| match secret {
        Secret::ServerKey(key) => Some((authority.as_str(), key)),
        Secret::Variable(_) => None,
    });
    let mut found = server_keys(fleet, of_servers).await?;
    for (authority, secret) in keys {
        if let Secret::Variable(source) = secret {
            let key = variable(source).ok_or_else(|| missing("the API key", source))?;
            found.insert(authority.clone(), key);
        }
    }
    Ok(found)
}

pub(super) fn missing(wanted: &str, source: &str) -> Failure {
    Failure::new(format!(
        "`{wanted}` takes its value from `{source}` of this machine's environment, which is not set, \
         or empty"
    ))
    .hinted(format!("export {source}=… and run the same again"))
}
