//! What every node showed in every block, whether it was measured there or idle: a machine that is slow
//! today, or throttled beside another, is to be seen.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::experiment::Experiment;
use super::outcome::Block;
use crate::name::NodeName;
use crate::results::BenchResult;
use crate::results::quantile::quantile;

/// How much longer than in other blocks of the arm a token may take.
const THAN_USUAL: f64 = 1.3;

/// Differences of a token below this are noise, in ms.
const MATTERS_MS: f64 = 3.0;

/// The canary of a node in a block: the short answer of an instance there, with nothing else in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeCanary {
    /// The node.
    pub node: NodeName,
    /// Who answered; nobody, where nothing runs there in the arm.
    pub instance: Option<String>,
    /// The median time between two tokens before the first benchmark of the block, in ms.
    pub before_ms: Option<f64>,
    /// After the last.
    pub after_ms: Option<f64>,
}

impl Experiment {
    /// The nodes on which an instance of any arm runs.
    pub fn nodes(&self) -> BTreeSet<NodeName> {
        let servers = self
            .arms
            .values()
            .flat_map(|arm| arm.topology.instances.values());
        servers.map(|server| server.node.clone()).collect()
    }
}

impl NodeCanary {
    /// The canaries of these nodes, by the results of a block in the order in which they were measured:
    /// one for each instance, and one of nobody for a node where none runs.
    pub fn of(nodes: &BTreeSet<NodeName>, results: &[&BenchResult]) -> Vec<Self> {
        let mut canaries = Vec::new();
        for node in nodes {
            let instances: BTreeSet<&str> = results
                .iter()
                .flat_map(|result| result.instances_on(node))
                .collect();
            if instances.is_empty() {
                canaries.push(Self {
                    node: node.clone(),
                    instance: None,
                    before_ms: None,
                    after_ms: None,
                });
            }
            canaries.extend(instances.into_iter().map(|instance| {
                Self {
                    node: node.clone(),
                    instance: Some(instance.to_owned()),
                    before_ms: results.iter().find_map(|it| it.canaries.of(instance).0),
                    after_ms: results
                        .iter()
                        .rev()
                        .find_map(|it| it.canaries.of(instance).1),
                }
            }));
        }
        canaries
    }

    /// The better of what it showed, in ms: a hiccup passes, a slow state lasts. No time between
    /// tokens, which an answer that came in one piece has, is none that was measured.
    pub fn best_ms(&self) -> Option<f64> {
        let shown = self.before_ms.into_iter().chain(self.after_ms);
        shown.filter(|&ms| ms > 0.0).min_by(f64::total_cmp)
    }
}

/// The nodes that were clearly slower in some block than in the others of its arm, in words.
pub fn slow_nodes(blocks: &[Block]) -> Vec<String> {
    let slow = blocks.iter().enumerate().flat_map(|(place, block)| {
        let canaries = block.canaries.iter();
        canaries.filter_map(move |canary| {
            let usual = usual_ms(blocks, block, canary)?;
            let now = canary.best_ms()?;
            let is_slow = now > THAN_USUAL * usual && now - usual > MATTERS_MS;
            is_slow.then(|| {
                format!(
                    "{} was slow in block {}: alone, `{}` took {now:.1} ms for a token, and {usual:.1} ms \
                     on the median of the blocks of `{}`",
                    canary.node,
                    place + 1,
                    canary.instance.as_deref().unwrap_or_default(),
                    block.arm
                )
            })
        })
    });
    slow.collect()
}

/// What an instance showed on the median of the blocks of an arm.
fn usual_ms(blocks: &[Block], of: &Block, canary: &NodeCanary) -> Option<f64> {
    let own = blocks.iter().filter(|block| block.arm == of.arm);
    let same = own
        .flat_map(|block| &block.canaries)
        .filter(|it| it.node == canary.node && it.instance == canary.instance);
    let mut shown: Vec<f64> = same.filter_map(NodeCanary::best_ms).collect();
    shown.sort_by(f64::total_cmp);
    quantile(&shown, 0.5)
}

#[cfg(test)]
mod tests {
    use super::super::tests::concluded;
    use super::*;
    use crate::results::{Canary, IdleCanaries};
    use crate::verdict::scene::notebook_run;

    fn canary(instance: &str, itl_p50_ms: f64) -> Canary {
        Canary {
            instance: instance.to_owned(),
            ttft_ms: 1.0,
            itl_p50_ms,
            text_sha256: None,
        }
    }

    #[test]
    fn every_node_has_a_canary_or_none_and_that_is_told() {
        let mut result = notebook_run();
        let placed = |name: &str, node: &str| serde_json::json!({"name": name, "node": node});
        result.topology = serde_json::json!({
            "instances": [placed("a", "spark-01")], "idle": [placed("b", "spark-02")],
        });
        result.canaries.before = vec![canary("a", 20.0)];
        result.canaries.after = vec![canary("a", 21.0)];
        result.canaries.idle = IdleCanaries {
            before: vec![canary("b", 30.0)],
            after: vec![canary("b", 31.0)],
        };
        let mut later = result.clone();
        later.canaries.after = vec![canary("a", 22.0)];
        let nodes = ["spark-01", "spark-02", "spark-03"].map(|it| it.parse().unwrap());
        let seen = NodeCanary::of(&nodes.into(), &[&result, &later]);
        let told = seen.iter().map(|it| {
            (
                it.node.as_str(),
                it.instance.as_deref(),
                it.before_ms,
                it.after_ms,
            )
        });
        let expected = [
            ("spark-01", Some("a"), Some(20.0), Some(22.0)),
            ("spark-02", Some("b"), Some(30.0), Some(31.0)),
            ("spark-03", None, None, None),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_node_that_was_slow_in_a_block_is_named() {
        let mut blocks = concluded().blocks;
        let is_split = |block: &&mut Block| block.arm.as_str() == "split";
        for (number, block) in blocks.iter_mut().filter(is_split).enumerate() {
            let ms = if number == 2 { 41.0 } else { 25.0 };
            block.canaries = vec![NodeCanary {
                node: "spark-02".parse().unwrap(),
                instance: Some("b".to_owned()),
                before_ms: Some(ms + 20.0),
                after_ms: Some(ms),
            }];
        }
        let said = slow_nodes(&blocks);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with("spark-02 was slow in block "),
            "{said:?}"
        );
        assert!(
            said[0].ends_with("alone, `b` took 41.0 ms for a token, and 25.0 ms on the median of the blocks of `split`"),
            "{said:?}"
        );
    }
}
