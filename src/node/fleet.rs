//! All nodes of a topology, each reached or known not to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{ConnectOptions, Node, NodeDeclaration, Unreachable};
use crate::name::NodeName;
use crate::plan::Failure;

/// All nodes of a topology. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Fleet {
    nodes: Arc<BTreeMap<NodeName, Result<Node, Unreachable>>>,
}

impl Fleet {
    /// Connects to all nodes side by side. A node that cannot be reached is kept with the reason.
    pub async fn connect(
        declared: &BTreeMap<NodeName, NodeDeclaration>,
        options: &ConnectOptions,
    ) -> Self {
        let mut connecting = JoinSet::new();
        for (name, node) in declared {
            let (name, reach, options) = (name.clone(), node.ssh.clone(), options.clone());
            connecting.spawn(async move {
                let node = Node::connect(&name, &reach, &options).await;
                (name, node)
            });
        }
        let mut nodes = BTreeMap::new();
        while let Some(Ok((name, node))) = connecting.join_next().await {
            nodes.insert(name, node);
        }
        Self {
            nodes: Arc::new(nodes),
        }
    }

    /// The names of all nodes, the unreachable ones included.
    pub fn names(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// The nodes that were reached.
    pub fn reached(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter_map(|node| node.as_ref().ok())
    }

    /// A node, or why it could not be reached.
    pub fn node(&self, name: &NodeName) -> Result<&Node, Failure> {
        match self.nodes.get(name) {
            Some(Ok(node)) => Ok(node),
            Some(Err(unreachable)) => Err(unreachable.clone().into()),
            None => Err(Failure::bug(format!("there is no node `{name}`"))),
        }
    }

    /// What would help with the nodes that could not be reached.
    pub fn hints(&self) -> impl Iterator<Item = (&NodeName, String)> {
        self.nodes
            .iter()
            .filter_map(|(name, node)| Some((name, node.as_ref().err()?.hint()?)))
    }
}
