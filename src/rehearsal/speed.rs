//! How fast prompts are read, which nobody has measured for the case at hand.

use serde::Serialize;

use crate::simulator::GB10_PROMPT_TOKENS_PER_SECOND;

/// How fast a GB10 reads the prompts of Llama-3.1-8B in bf16: between what is certain and what can be.
///
/// The profile's figure was fitted to prompts of 256 tokens, where little hangs on it. Of long prompts
/// others have published about 8,000 tokens a second of the same model in FP8 (LMSYS, DGX Spark) and 6,265
/// of one with three billion active parameters in NVFP4 (vllm-project/recipes#918, vLLM 0.28, prompts of
/// 8,192). FP8 computes twice as fast as bf16, so that 4,000 is likely; 8,000 would take all of the 125 TFLOPS
/// of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PrefillSpeed {
    /// As slow as the profile has it.
    Low,
    /// As fast as half of what was published of FP8.
    Mid,
    /// As fast as what was published of FP8: no faster is possible.
    High,
}

impl PrefillSpeed {
    /// All, from the slowest to the fastest.
    pub const ALL: [Self; 3] = [Self::Low, Self::Mid, Self::High];

    /// Prompt tokens a second, without their attention to each other.
    pub fn tokens_per_second(self) -> f64 {
        match self {
            Self::Low => GB10_PROMPT_TOKENS_PER_SECOND,
            Self::Mid => 4_000.0,
            Self::High => 8_000.0,
        }
    }

    /// How many times as fast that is as the profile has it.
    pub(super) fn times(self) -> f64 {
        self.tokens_per_second() / GB10_PROMPT_TOKENS_PER_SECOND
    }
}
