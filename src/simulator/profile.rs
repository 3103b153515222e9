//! What a profile means: how fast a device computes ([`super::physics`]), how much memory there is.
//!
//! The GB10 figures are fitted to published measurements of Llama-3.1-8B-Instruct in bf16 on one
//! DGX Spark under vLLM 0.13; [`mod@super::fit`] holds the measurements and shows how close it comes.

use std::borrow::Cow;
use std::time::Duration;

use super::physics::Pace;
use crate::resource::engine::Profile;

/// How an engine spends time and memory.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    /// Seconds from start to ready.
    pub(super) load: Duration,
    /// How long a step takes.
    pub(super) pace: Pace,
    /// The longest context of the model.
    pub(super) max_model_len: usize,
    /// What it takes to fetch blocks from another engine.
    pub(super) transfers: Transfers,
}

/// How long it takes to fetch blocks from another engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfers {
    /// What the first contact with an engine takes, once it answers.
    pub(super) handshake: Duration,
    /// For how long an engine that does not answer, or is another one, is waited for.
    pub(super) patience: Duration,
    /// What starting a transfer takes.
    pub(super) post: Duration,
    /// Bytes a second of the link.
    bytes_per_second: f64,
}

impl Transfers {
    /// How long the link is busy with so many bytes.
    pub(super) fn time(&self, bytes: u64) -> Duration {
        self.post + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second)
    }

    /// The same over a link of so many bytes a second.
    pub(super) fn over(self, bytes_per_second: f64) -> Self {
        Self {
            bytes_per_second,
            ..self
        }
    }
}

/// What the simulated device has and what the model takes, in GiB. As vLLM's log said on a GB10.
pub(super) const DEVICE_GIB: f64 = 119.7;
pub(super) const WEIGHTS_GIB: f64 = 14.989;
/// Activations, graphs and what does not belong to PyTorch: what is missing when 0.3 of the device
/// leaves 147 152 tokens.
const OTHER_GIB: f64 = 2.958;
/// 32 layers x 8 heads x 128 x 2 (keys, values) x 2 bytes.
pub(super) const KV_BYTES_PER_TOKEN: u64 = 131_072;
const KV_GIB_PER_TOKEN: f64 = KV_BYTES_PER_TOKEN as f64 / (1024.0 * 1024.0 * 1024.0);
/// In how many places the keys and values of one block lie: 32 layers x 2.
pub(super) const KV_REGIONS: usize = 64;

const FAST: Timing = Timing {
    load: Duration::from_millis(400),
    pace: Pace {
        step_ms: Cow::Borrowed(&[(1.0, 1.0), (64.0, 2.0), (512.0, 16.0)]),
        token_read: 0.0,
        prompt_token: 1e-5,
        pair: 0.0,
    },
    max_model_len: 32_768,
    transfers: Transfers {
        handshake: Duration::from_millis(50),
        patience: Duration::from_millis(500),
        post: Duration::from_micros(100),
        bytes_per_second: 100e9,
    },
};

/// What a GB10 gets of its memory's 273 GB/s: the weights that a step reads (15 GB) in the 67 ms
/// that it takes.
const GB10_BYTES_PER_SECOND: f64 = 220e9;
/// Prompt tokens a second. Fitted to prompts of 256 tokens; for longer ones it was never measured,
/// and others have published two to three times as much of narrower weights.
pub(crate) const GB10_PROMPT_TOKENS_PER_SECOND: f64 = 3_000.0;
/// Operations for one token of a prompt: two for each of the 7.5 G parameters it meets.
pub(super) const OPERATIONS_PER_TOKEN: f64 = 15.0e9;
/// Operations for the attention of one token to another: 32 layers x 32 heads x 128 x 2 (scores,
/// values) x 2 (multiply, add).
pub(super) const OPERATIONS_PER_PAIR: f64 = 524_288.0;

/// Up to 16 sequences the step is the time to read the weights; from 17 on the next larger CUDA
/// graph is used, which is where the measurements have their stair. Beyond 27 the slope is the
/// measured one, extended. What the measurements spent on reading some 320 tokens of context a
/// sequence is taken out of the points. Attention is taken to get as many operations out of the
/// device as the rest of a prompt does. The load time was never measured: it is merely bearable.
///
/// A first contact took 2.5 s where vLLM's CPU build was watched, and 5 to 7 s until one failed; what
/// NCCL gets over one QSFP cable between two of these is 20.4 to 23.7 GB/s. That NIXL gets as much
/// as the lower of these was never measured.
const GB10: Timing = Timing {
    load: Duration::from_secs(8),
    pace: Pace {
        step_ms: Cow::Borrowed(&[
            (1.0, 67.45),
            (8.0, 64.1),
            (16.0, 63.6),
            (18.0, 71.7),
            (27.0, 74.1),
            (64.0, 100.0),
        ]),
        token_read: KV_BYTES_PER_TOKEN as f64 / GB10_BYTES_PER_SECOND,
        prompt_token: 1.0 / GB10_PROMPT_TOKENS_PER_SECOND,
        pair: OPERATIONS_PER_PAIR / OPERATIONS_PER_TOKEN / GB10_PROMPT_TOKENS_PER_SECOND,
    },
    max_model_len: 131_072,
    transfers: Transfers {
        handshake: Duration::from_millis(2500),
        patience: Duration::from_secs(6),
        post: Duration::from_micros(200),
        bytes_per_second: 20.4e9,
    },
};

/// How fast a GB10 computes.
pub(crate) fn gb10_pace() -> Pace {
    GB10.pace
}

impl Timing {
    /// The timing of a profile.
    pub(super) fn of(profile: Profile) -> Self {
        match profile {
            Profile::Fast => FAST,
            Profile::Gb10Llama8b => GB10,
        }
    }
}

/// What the share of the device leaves for the KV cache, in GiB. Negative when the weights
/// do not even fit.
pub(super) fn kv_gib(gpu_memory_utilization: f64) -> f64 {
    DEVICE_GIB * gpu_memory_utilization - WEIGHTS_GIB - OTHER_GIB
}

/// How many blocks of `block_size` tokens that many GiB hold.
pub(super) fn kv_blocks(gib: f64, block_size: usize) -> usize {
    (gib / KV_GIB_PER_TOKEN / block_size as f64).max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::physics::Step;

    #[test]
    fn three_tenths_of_a_gb10_hold_as_many_tokens_as_vllm_said() {
        assert_eq!(kv_blocks(kv_gib(0.3), 16) * 16, 147_152);
    }

    #[test]
    fn a_gb10_reads_its_context() {
        let timing = Timing::of(Profile::Gb10Llama8b);
        let eight = |context: usize| {
            let mut step = Step::default();
            (0..8).for_each(|_| step.decode(context));
            timing.pace.time(&step).as_secs_f64() * 1000.0
        };
        assert!((64.0..67.0).contains(&eight(256)), "{}", eight(256));
        assert!((99.0..106.0).contains(&eight(8000)), "{}", eight(8000));
    }
}
