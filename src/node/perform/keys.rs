//! The keys that a proxy is told: had at the moment at which it is told of them.

use sha2::{Digest, Sha256};

use super::secret::{make_node_key, server_keys};
use crate::hex::hex;
use crate::node::{Fleet, Node, NodeKey, variable};
use crate::plan::Failure;
use crate::plan::effect::ProxyControl;
use crate::plan::effect::control::{Backend, Hidden, Key, Keys, Request};

/// The same request with the keys in it that a plan does not hold.
///
/// # Errors
///
/// When the key of a server cannot be read on its node.
pub async fn with_keys(
    fleet: &Fleet,
    node: &Node,
    control: &ProxyControl,
) -> Result<ProxyControl, Failure> {
    let mut control = control.clone();
    let keys = &control.keys;
    let servers = keys.backends.iter().map(|(name, key)| (name.as_str(), key));
    let servers = server_keys(fleet, servers).await?;
    let complete = |backend: &mut Backend| {
        if let Some(key) = servers.get(&backend.name) {
            backend.key = Some(server_key(key));
        }
    };
    match &mut control.request {
        Request::Configure(config) => {
            config.backends.iter_mut().for_each(complete);
            if let Some(client_keys) = client_keys(node, keys).await? {
                config.client_keys = client_keys;
            }
        }
        Request::Admit(backend) | Request::TakeOver(backend) => complete(backend),
        Request::Drain { .. } | Request::Drained(_) | Request::Reload | Request::Status => {}
    }
    Ok(control)
}

/// What is shown to a server.
fn server_key(key: &str) -> Key {
    Key {
        digest: NodeKey::server_key_digest(key),
        hidden: Some(Hidden(key.to_owned())),
    }
}

/// What clients show. Where a variable is not set here, all stay as the proxy has them.
async fn client_keys(node: &Node, keys: &Keys) -> Result<Option<Vec<Key>>, Failure> {
    let values: Option<Vec<_>> = keys.clients.iter().map(|it| variable(it)).collect();
    let Some(values) = values.filter(|values| !values.is_empty()) else {
        return Ok(None);
    };
    let node_key = make_node_key(node, &keys.node_key, None).await?;
    let key = |value: &String| Key {
        digest: node_key.digest(Keys::CLIENT, value),
        hidden: Some(Hidden(hex(&Sha256::digest(value)))),
    };
    Ok(Some(values.iter().map(key).collect()))
}
