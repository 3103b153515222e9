//! `kv_transfer_params`: what a request says about another engine's blocks, and what an answer says
//! about this one's.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Connector;
use crate::simulator::prefix_cache::BlockId;

/// What is to be done with the KV cache of one sequence, beside answering.
#[derive(Debug, Clone, Default)]
pub(in crate::simulator) struct Handover {
    /// Keep its blocks for another engine.
    pub(in crate::simulator) keep: Option<Keep>,
    /// Fetch its blocks from another engine instead of computing them.
    pub(in crate::simulator) fetch: Option<Remote>,
}

/// Under which name blocks are kept, and for how long at most.
#[derive(Debug, Clone)]
pub(in crate::simulator) struct Keep {
    pub(in crate::simulator) request: String,
    pub(in crate::simulator) lease: Duration,
}

/// Blocks of another engine.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::simulator) struct Remote {
    pub(super) engine: String,
    pub(super) request: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) blocks: Vec<BlockId>,
}

/// What the object lacks that was to say where the blocks are.
#[derive(Debug, PartialEq)]
pub(in crate::simulator) struct Incomplete;

impl Handover {
    /// What the object of a request asks for; `request` is the request's own name.
    pub(in crate::simulator) fn read(
        params: &Map<String, Value>,
        request: String,
        lease: Duration,
    ) -> Result<Self, Incomplete> {
        let says = |name: &str| params.get(name).and_then(Value::as_bool) == Some(true);
        Ok(Self {
            keep: says("do_remote_decode").then_some(Keep { request, lease }),
            fetch: says("do_remote_prefill")
                .then(|| Remote::read(params))
                .transpose()?,
        })
    }
}

impl Remote {
    /// Blocks of an engine that is known to whoever fetches them.
    pub(in crate::simulator) fn known(request: String, blocks: Vec<BlockId>) -> Self {
        Self {
            engine: String::new(),
            request,
            host: String::new(),
            port: 0,
            blocks,
        }
    }

    /// A field of another kind than vLLM writes finds nobody: it is kept as an address that is none.
    fn read(params: &Map<String, Value>) -> Result<Self, Incomplete> {
        let text = |name: &str| {
            let value = params.get(name).ok_or(Incomplete)?;
            Ok(value.as_str().unwrap_or_default().to_owned())
        };
        let port = params.get("remote_port").ok_or(Incomplete)?.as_u64();
        let blocks = params.get("remote_block_ids").and_then(Value::as_array);
        let block = |value: &Value| {
            let number = value.as_u64().and_then(|number| number.try_into().ok());
            number.unwrap_or_default()
        };
        Ok(Self {
            engine: text("remote_engine_id")?,
            request: text("remote_request_id")?,
            host: text("remote_host")?,
            port: port.and_then(|port| port.try_into().ok()).unwrap_or(0),
            blocks: blocks.into_iter().flatten().map(block).collect(),
        })
    }
}

impl Connector {
    /// The object of an answer whose blocks are kept.
    pub(in crate::simulator) fn object(&self, request: &str, blocks: &[BlockId]) -> Value {
        json!({
            "do_remote_prefill": true,
            "do_remote_decode": false,
            "remote_block_ids": blocks,
            "remote_engine_id": self.engine_id,
            "remote_request_id": request,
            "remote_host": self.host,
            "remote_port": self.port,
            "tp_size": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(params: &Value) -> Result<Handover, Incomplete> {
        let params = params.as_object().expect("is an object");
        Handover::read(params, "cmpl-1-0".to_owned(), Duration::from_secs(1))
    }

    fn complete() -> Value {
        json!({
            "do_remote_prefill": true, "do_remote_decode": false, "remote_block_ids": [4, 7],
            "remote_engine_id": "e", "remote_request_id": "cmpl-2-0", "remote_host": "127.0.0.1",
            "remote_port": 5600, "tp_size": 1,
        })
    }

    #[test]
    fn an_object_says_where_blocks_are() {
        let handover = read(&complete()).expect("is complete");
        let remote = handover.fetch.expect("asks for blocks");
        assert_eq!((remote.port, remote.blocks), (5600, vec![4, 7]));
        assert!(handover.keep.is_none());
    }

    #[test]
    fn each_of_four_fields_must_be_there() {
        for field in [
            "remote_engine_id",
            "remote_request_id",
            "remote_host",
            "remote_port",
        ] {
            let mut params = complete();
            params.as_object_mut().expect("is an object").remove(field);
            assert_eq!(read(&params).err(), Some(Incomplete), "{field}");
        }
    }

    #[test]
    fn keeping_needs_nothing_but_the_wish() {
        let handover = read(&json!({"do_remote_decode": true})).expect("is complete");
        assert_eq!(
            handover.keep.expect("asks to keep").request,
            "cmpl-1-0".to_owned()
        );
        assert!(handover.fetch.is_none());
    }
}
