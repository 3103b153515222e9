//! From what is written to what is meant: what one thing names of another is looked up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::document::Document;
use super::Checker;
use crate::name::{EngineName, ModelName};
use crate::resource::Topology;
use crate::resource::engine::{Engine, InvalidEngine};
use crate::resource::instance::{InstanceDeclaration, KvDeclaration, Runtime, Server, VllmRuntime};
use crate::resource::model::ModelDeclaration;
use crate::resource::proxy::DEFAULT_REACH;

/// The engines of a document by their names.
pub(super) type Engines<'a> = BTreeMap<&'a EngineName, Result<Engine, InvalidEngine>>;

/// Each model, shared by the servers that have it.
type Models<'a> = BTreeMap<&'a ModelName, Arc<ModelDeclaration>>;

/// What each engine means.
pub(super) fn engines(document: &Document) -> Engines<'_> {
    let engines = document.engines.iter();
    engines
        .map(|(name, declared)| (name, Engine::new(name, declared)))
        .collect()
}

/// What a document means, where everything is found that it names. Rules report what is not.
pub(super) fn topology(seen: &Checker<'_>) -> Option<Topology> {
    let document = seen.document;
    let models = document.models.iter();
    let models: Models<'_> = models
        .map(|(name, declared)| (name, Arc::new(declared.clone())))
        .collect();
    let instances = document.instances.iter().map(|(name, declared)| {
        let runtime = runtime(&seen.engines, &models, declared)?;
        let server = Server::new(declared, runtime);
        Some((name.clone(), handing_over(document, server)?))
    });
    let benchmarks = document.benchmarks.iter().map(|(name, declared)| {
        let measurement = declared.meant(&document.slos).ok()?;
        Some((name.clone(), measurement))
    });
    Some(Topology {
        name: document.name.clone(),
        nodes: document.nodes.clone(),
        instances: instances.collect::<Option<_>>()?,
        proxy: document.proxy.clone(),
        benchmarks: benchmarks.collect::<Option<_>>()?,
    })
}

/// The server with the connector that hands over what it computes, where the document declares one.
fn handing_over(document: &Document, server: Server) -> Option<Server> {
    let Some(kv) = &document.kv else {
        return Some(server);
    };
    let proxy = document.proxy.as_ref();
    let network = proxy.and_then(|proxy| proxy.reach.as_deref());
    let node = document.nodes.get(&server.node)?;
    let host = KvDeclaration::host(node, network.unwrap_or(DEFAULT_REACH))?;
    Some(server.handing_over(kv, host))
}

fn runtime(
    engines: &Engines<'_>,
    models: &Models<'_>,
    declared: &InstanceDeclaration,
) -> Option<Runtime> {
    let engine = engines.get(&declared.engine)?.as_ref().ok()?;
    Some(match engine {
        Engine::Vllm(engine) => Runtime::Vllm(VllmRuntime {
            engine: Arc::clone(engine),
            model: Arc::clone(models.get(&declared.model)?),
            // Those that its arguments name are chosen from all.
            beside: models
                .iter()
                .map(|(name, model)| ((*name).clone(), Arc::clone(model)))
                .collect(),
        }),
        Engine::Simulated(engine) => Runtime::Simulated(Arc::clone(engine)),
    })
}
