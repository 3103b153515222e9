//! What a profile means: how long a step takes, how much memory there is.
//!
//! The GB10 figures are fitted to published measurements of Llama-3.1-8B-Instruct in bf16 on one
//! DGX Spark under vLLM 0.13; [`super::fit`] holds the measurements and shows how close it comes.

use std::time::Duration;

use crate::resource::engine::Profile;

/// How an engine spends time and memory.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    /// Seconds from start to ready.
    pub(super) load: Duration,
    /// Milliseconds of a step by the number of sequences in it; linear between the points, and
    /// beyond the last one with the slope of the last two.
    step_ms: &'static [(f64, f64)],
    /// Prompt tokens a second that are computed on top of a step.
    prefill_tokens_per_second: f64,
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
    step_ms: &[(1.0, 1.0), (64.0, 2.0), (512.0, 16.0)],
    prefill_tokens_per_second: 100_000.0,
    max_model_len: 32_768,
    transfers: Transfers {
        handshake: Duration::from_millis(50),
        patience: Duration::from_millis(500),
        post: Duration::from_micros(100),
        bytes_per_second: 100e9,
    },
};

/// Up to 16 sequences the step is the time to read the weights (15 GB at 220 GB/s); from 17 on the
/// next larger CUDA graph is used, which is where the measurements have their stair. Beyond 27 the
/// slope is the measured one, extended. The load time was never measured: it is merely bearable.
///
/// A first contact took 2.5 s where vLLM's CPU build was watched, and 5 to 7 s until one failed; what
/// NCCL gets over one QSFP cable between two of these is 20.4 to 23.7 GB/s. That NIXL gets as much
/// as the lower of these was never measured.
const GB10: Timing = Timing {
    load: Duration::from_secs(8),
    step_ms: &[
        (1.0, 67.5),
        (8.0, 65.5),
        (16.0, 66.5),
        (18.0, 75.0),
        (27.0, 79.0),
        (64.0, 112.0),
    ],
    prefill_tokens_per_second: 3_000.0,
    max_model_len: 131_072,
    transfers: Transfers {
        handshake: Duration::from_millis(2500),
        patience: Duration::from_secs(6),
        post: Duration::from_micros(200),
        bytes_per_second: 20.4e9,
    },
};

impl Timing {
    /// The timing of a profile.
    pub(super) fn of(profile: Profile) -> Self {
        match profile {
            Profile::Fast => FAST,
            Profile::Gb10Llama8b => GB10,
        }
    }

    /// How long one step takes that advances `sequences` sequences and computes
    /// `prefill_tokens` tokens of prompts beside.
    pub(super) fn step(&self, sequences: usize, prefill_tokens: usize) -> Duration {
        let prefill = prefill_tokens as f64 / self.prefill_tokens_per_second;
        Duration::from_secs_f64(self.step_milliseconds(sequences as f64) / 1000.0 + prefill)
    }

    fn step_milliseconds(&self, sequences: f64) -> f64 {
        let segment = self
            .step_ms
            .windows(2)
            .find(|pair| sequences <= pair[1].0)
            .or(self.step_ms.windows(2).last());
        let Some([(from, low), (to, high)]) = segment else {
            return self.step_ms[0].1;
        };
        low + (high - low) * (sequences - from) / (to - from)
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

    #[test]
    fn three_tenths_of_a_gb10_hold_as_many_tokens_as_vllm_said() {
        assert_eq!(kv_blocks(kv_gib(0.3), 16) * 16, 147_152);
    }

    #[test]
    fn a_step_is_linear_between_its_points_and_beyond_the_last() {
        let timing = Timing {
            step_ms: &[(1.0, 1.0), (3.0, 2.0)],
            ..FAST
        };
        assert_eq!(timing.step(2, 0), Duration::from_micros(1500));
        assert_eq!(timing.step(5, 0), Duration::from_millis(3));
        assert_eq!(timing.step(1, 100_000), Duration::from_millis(1001));
    }
}
