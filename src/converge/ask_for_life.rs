//! Asks what runs for a sign of life.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::name::NodeName;
use crate::node::perform::EarlyPage;
use crate::node::{Fleet, perform};
use crate::plan::{Address, Liveness, LivenessProbe};
use crate::resource::{Observation, Resource};

/// How long somebody waits before they wonder.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Hears of what is waited for.
pub type OnWaiting = Arc<dyn Fn(&Address) + Send + Sync>;

/// The pages that servers were asked for while their nodes were looked at, by node and port.
#[derive(Debug, Default)]
pub(super) struct EarlyPages(BTreeMap<(NodeName, u16), EarlyPage>);

impl EarlyPages {
    pub(super) fn extend(&mut self, node: &NodeName, pages: Vec<(u16, EarlyPage)>) {
        let pages = pages.into_iter();
        self.0
            .extend(pages.map(|(port, page)| ((node.clone(), port), page)));
    }

    fn take(&mut self, probe: &LivenessProbe) -> Option<EarlyPage> {
        self.0.remove(&(probe.node.clone(), probe.port))
    }
}

/// Asks what runs for a sign of life, all side by side: what cannot be asked from here stays out.
/// `early` has their pages that are on their way already, and `waiting` hears of each that takes its
/// time.
pub(super) async fn ask_for_life(
    fleet: &Fleet,
    resources: &[Arc<dyn Resource>],
    observed: &Observation,
    mut early: EarlyPages,
    waiting: &OnWaiting,
) -> BTreeMap<Address, Liveness> {
    let mut asking = JoinSet::new();
    for probe in resources
        .iter()
        .filter_map(|it| it.liveness_probe(observed))
    {
        let (fleet, waiting) = (fleet.clone(), Arc::clone(waiting));
        let early = early.take(&probe);
        asking.spawn(async move {
            let node = fleet.node(&probe.node).ok()?;
            let asked = perform::liveness(node, &probe, early);
            tokio::pin!(asked);
            let shown = if let Ok(shown) = timeout(WORTH_TELLING, &mut asked).await {
                shown
            } else {
                waiting(&probe.address);
                asked.await
            };
            Some((probe.address.clone(), shown.ok()?))
        });
    }
    let shown = asking.join_all().await;
    shown.into_iter().flatten().collect()
}
