//! `kv_transfer_params` of a request and of its answer.

use serde_json::Value;

use super::Server;
use super::envelope::{Envelope, Kind};
use super::pieces::Piece;
use super::request::{Body, Job};
use crate::simulator::kv::params::Handover;

/// Tells each sequence of a job what to do with its KV cache, as its request says.
pub(super) fn instruct(server: &Server, body: &Body, envelope: &Envelope, job: &mut Job) {
    let Some(params) = body
        .kv_transfer_params
        .as_ref()
        .filter(|params| !params.is_empty())
    else {
        return;
    };
    let Some(connector) = &server.connector else {
        let warning = "Got kv_transfer_params, but no KVConnector found. Disabling KVTransfer for this request.";
        server.log.warning("core.py:296", warning);
        return;
    };
    let choices = job.choices_per_prompt;
    for (index, work) in job.works.iter_mut().enumerate() {
        let request = name(envelope, choices, index);
        work.handover =
            Handover::read(params, request, connector.lease()).unwrap_or_else(|_incomplete| {
                let params = Value::Object(params.clone());
                let warning = format!(
                    "Got invalid KVTransferParams: {params}. This request will not utilize KVTransfer"
                );
                server.log.warning("nixl_connector.py:668", &warning);
                Handover::default()
            });
    }
}

/// What vLLM's engine calls a sequence.
fn name(envelope: &Envelope, choices: usize, index: usize) -> String {
    let prompt = match envelope.kind {
        Kind::Completion => format!("{}-{}", envelope.id, index / choices),
        Kind::Chat => envelope.id.clone(),
    };
    if choices > 1 {
        format!("{}_{prompt}", index % choices)
    } else {
        prompt
    }
}

/// Where the blocks of an answer are that were kept: those of its first choice, as in vLLM.
pub(super) fn object(server: &Server, job: &Job, choices: &[Piece]) -> Option<Value> {
    let connector = server.connector.as_ref()?;
    let blocks = choices.first()?.kept.as_ref()?;
    let keep = job.works.first()?.handover.keep.as_ref()?;
    Some(connector.object(&keep.request, blocks))
}
