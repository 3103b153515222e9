//! Which way a load goes: through the proxy, past it to one instance, or both.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Instance, Measured, Measurement, Program, Proxy};
use crate::name::{BenchmarkName, InstanceName, InvalidName, TopologyName};

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// The proxy; without one, the only instance.
    #[default]
    Proxy,
    /// The proxy, and then the same of each instance behind it, past the proxy: `NAME.INSTANCE` is a result
    /// of its own, held against that of the proxy.
    EachInstance,
    /// One instance, past the proxy.
    Instance(InstanceName),
}

/// One thing that is measured for a benchmark.
pub struct Aimed {
    /// What its results are called.
    pub name: BenchmarkName,
    /// What is asked of it.
    pub declared: Measurement,
    /// What it is asked of.
    pub measured: Measured,
    /// The benchmark whose result it is held against, which is measured before it.
    pub beside: Option<BenchmarkName>,
}

impl Aimed {
    /// The same, with the others of these beside it.
    #[must_use]
    pub fn among(self, all: &[Arc<Instance>]) -> Self {
        Self {
            measured: self.measured.among(all),
            ..self
        }
    }

    /// The same, measured from the node of this program.
    #[must_use]
    pub fn sent_by(self, sender: Option<Arc<Program>>) -> Self {
        Self {
            measured: self.measured.sent_by(sender),
            ..self
        }
    }
}

impl Measurement {
    /// Everything that is measured for a benchmark, in this order. `results` is the folder of results.
    pub fn targets(
        &self,
        topology: &TopologyName,
        name: &BenchmarkName,
        (instances, proxy): (&[Arc<Instance>], Option<&Arc<Proxy>>),
        results: &Path,
    ) -> Vec<Aimed> {
        let whole = |measured| Aimed {
            name: name.clone(),
            declared: self.clone(),
            measured,
            beside: None,
        };
        if let Way::Instance(wanted) = &self.endpoint {
            let one = instances.iter().find(|it| it.name() == wanted);
            return one
                .map(|it| whole(Measured::alone(it)))
                .into_iter()
                .collect();
        }
        let Some(measured) = Measured::new(instances, proxy) else {
            return Vec::new();
        };
        let behind = measured.instances.clone();
        let behind = behind.iter().filter(|_| self.endpoint == Way::EachInstance);
        let apart = behind.filter_map(|instance| {
            Some(Aimed {
                name: name_at(name, instance.name()).ok()?,
                declared: self.apart(&results.join(topology.as_str()).join(name.as_str())),
                measured: Measured::alone(instance),
                beside: Some(name.clone()),
            })
        });
        let apart: Vec<Aimed> = apart.collect();
        std::iter::once(whole(measured)).chain(apart).collect()
    }

    /// The same of one instance alone, held against the newest result in a folder. Conditions to fail under
    /// and files to write are those of the whole.
    fn apart(&self, folder: &Path) -> Self {
        let newest = folder.join("latest.json");
        Self {
            fail_if: Vec::new(),
            save: None,
            baseline: Some(std::path::absolute(&newest).unwrap_or(newest)),
            ..self.clone()
        }
    }
}

/// What the result of one instance alone is called.
///
/// # Errors
///
/// When both names together are none.
pub fn name_at(
    benchmark: &BenchmarkName,
    instance: &InstanceName,
) -> Result<BenchmarkName, InvalidName> {
    format!("{benchmark}.{instance}").parse()
}
