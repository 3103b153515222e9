//! What the simulator can be told.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::engine::Faults;
use super::flags;
use super::kv::settings::Config;
use super::pace::WrittenPace;
use super::profile::{self, Timing};
use super::scheduler::Limits;
use crate::resource::engine::Profile;

/// The words after `simulate`: vLLM's own command line, so that this can stand in for `vllm`.
///
/// They are taken as they are and read by [`Args::read`], because vLLM's spelling (`--a_b`, `-tp`,
/// a flag with several values) and its way to refuse are not clap's.
#[derive(Debug, Clone, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// `[serve] MODEL`, then any flag of `vllm serve`; `--help` lists those that have an effect.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS OF VLLM SERVE"
    )]
    words: Vec<String>,
}

/// Serves a simulated model over vLLM's HTTP surface
///
/// All other flags of `vllm serve` 0.13.0 are accepted and have no effect; a flag that 0.13.0 does
/// not know is refused, as it does.
#[derive(Debug, Clone, Parser)]
#[command(name = "replica simulate", no_binary_name = true)]
pub(super) struct Options {
    /// What to pretend to serve; also the first argument without a flag
    #[arg(long, default_value = "Qwen/Qwen3-0.6B")]
    pub(super) model: String,
    /// The address to listen on; every interface when not given
    #[arg(long)]
    pub(super) host: Option<String>,
    #[arg(long, default_value_t = 8000)]
    pub(super) port: u16,
    /// The names to answer to; the first is the one in responses
    #[arg(long)]
    pub(super) served_model_name: Vec<String>,
    /// A key that /v1 asks for; VLLM_API_KEY does the same
    #[arg(long)]
    pub(super) api_key: Vec<String>,
    /// The timing to imitate
    #[arg(long, value_enum, default_value = "fast")]
    pub(super) profile: ProfileName,
    /// Compute as fast as this says, whatever the profile: a file that `replica profile` wrote, or
    /// {"step_ms": [[1, 67.4], [64, 100]], "token_read_us": 0.6, "prompt_token_us": 333, "pair_ns": 12}
    #[arg(long, value_name = "JSON | FILE")]
    pub(super) sim_pace: Option<WrittenPace>,
    /// How many sequences run at once
    #[arg(long, default_value_t = 1024)]
    pub(super) max_num_seqs: usize,
    /// How many tokens a step computes
    #[arg(long, default_value_t = 8192)]
    pub(super) max_num_batched_tokens: usize,
    /// The longest prompt with its answer
    #[arg(long)]
    pub(super) max_model_len: Option<usize>,
    /// The share of the simulated 119.7 GiB that may be used
    #[arg(long, default_value_t = 0.9)]
    pub(super) gpu_memory_utilization: f64,
    /// How many tokens a block of the KV cache holds
    #[arg(long, default_value_t = 16)]
    pub(super) block_size: usize,
    /// How many blocks there are, whatever the memory says
    #[arg(long)]
    pub(super) num_gpu_blocks_override: Option<usize>,
    /// Keep prefixes (--no-enable-prefix-caching)
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub(super) enable_prefix_caching: bool,
    /// No torch.compile and no graphs: two milestones less in the log
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) enforce_eager: bool,
    /// How many tokens to gather for a chunk of a stream, after the first
    #[arg(long, default_value_t = 1)]
    pub(super) stream_interval: usize,
    /// Hand KV caches from engine to engine: {"kv_connector": "NixlConnector", "kv_role": "kv_both"};
    /// VLLM_NIXL_SIDE_CHANNEL_HOST and VLLM_NIXL_SIDE_CHANNEL_PORT say where
    #[arg(long, value_name = "JSON")]
    pub(super) kv_transfer_config: Option<Config>,
    /// Say in a request's usage how much of its prompt was known
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) enable_prompt_tokens_details: bool,
    /// Answer with the x-request-id of the request
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) enable_request_id_headers: bool,
    /// Count requests in /load
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) enable_server_load_tracking: bool,
    /// No line a request
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) disable_uvicorn_access_log: bool,
    /// No line about throughput every ten seconds
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) disable_log_stats: bool,

    /// Take so long to load
    #[arg(long, help_heading = "Faults", value_name = "SECONDS")]
    pub(super) sim_load_seconds: Option<f64>,
    /// Fail while loading
    #[arg(long, help_heading = "Faults", value_enum)]
    pub(super) sim_fail_loading: Option<LoadFailure>,
    /// Stop computing after so many completions, while /health stays 200
    #[arg(long, help_heading = "Faults", value_name = "COMPLETIONS")]
    pub(super) sim_wedge_after: Option<u64>,
    /// End the engine over a prompt that holds this
    #[arg(long, help_heading = "Faults", value_name = "TEXT")]
    pub(super) sim_poison: Option<String>,
    /// Take so much longer for the first requests of more than one token
    #[arg(
        long,
        help_heading = "Faults",
        value_name = "SECONDS",
        default_value_t = 0.0
    )]
    pub(super) sim_cold_seconds: f64,
    /// Be cold only from so many completions on
    #[arg(
        long,
        help_heading = "Faults",
        value_name = "COMPLETIONS",
        default_value_t = 0
    )]
    pub(super) sim_cold_after: u64,
    /// Serve one request at a time
    #[arg(long, help_heading = "Faults", default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) sim_serialise: bool,

    /// Print how close gb10-llama-3.1-8b comes to what was measured, and its physics to what others
    /// have published, and leave
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    pub(super) sim_fit: bool,
}

/// The profiles by the names that a manifest uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ProfileName {
    Fast,
    #[value(name = "gb10-llama-3.1-8b")]
    Gb10Llama8b,
}

/// How loading may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LoadFailure {
    /// Other processes hold the memory.
    Oom,
}

/// Why there are no options.
#[derive(Debug)]
pub(super) enum InvalidArgs {
    /// A flag that vLLM 0.13.0 does not know.
    Unknown(Vec<String>),
    /// A value that cannot be, or a wish for help.
    Clap(clap::Error),
}

impl Args {
    /// Arguments as if they had been typed.
    #[cfg(test)]
    pub(super) fn typed(line: &str) -> Self {
        Self {
            words: line.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// These words.
    pub(super) fn of(words: &[String]) -> Self {
        Self {
            words: words.to_vec(),
        }
    }

    /// What the words mean.
    pub(super) fn read(&self) -> Result<Options, InvalidArgs> {
        let sorted = flags::sort(&self.words);
        let options = Options::try_parse_from(sorted.heeded).map_err(InvalidArgs::Clap)?;
        if !sorted.unknown.is_empty() {
            return Err(InvalidArgs::Unknown(sorted.unknown));
        }
        let from_environment = || {
            std::env::var("VLLM_API_KEY")
                .into_iter()
                .filter(|key| !key.is_empty())
        };
        let api_key = if options.api_key.is_empty() {
            from_environment().collect()
        } else {
            options.api_key
        };
        Ok(Options { api_key, ..options })
    }
}

impl Options {
    /// The names that requests may use; never none.
    pub(super) fn names(&self) -> Vec<String> {
        if self.served_model_name.is_empty() {
            vec![self.model.clone()]
        } else {
            self.served_model_name.clone()
        }
    }

    /// The timing of the profile, computing as fast as was said.
    pub(super) fn timing(&self) -> Timing {
        let timing = Timing::of(match self.profile {
            ProfileName::Fast => Profile::Fast,
            ProfileName::Gb10Llama8b => Profile::Gb10Llama8b,
        });
        let pace = self.sim_pace.as_ref().map(WrittenPace::pace);
        Timing {
            pace: pace.unwrap_or(timing.pace),
            ..timing
        }
    }

    /// How long loading takes.
    pub(super) fn load_time(&self) -> Duration {
        self.sim_load_seconds.map_or(self.timing().load, seconds)
    }

    /// What the engine may not exceed.
    pub(super) fn limits(&self) -> Limits {
        let from_memory = profile::kv_blocks(
            profile::kv_gib(self.gpu_memory_utilization),
            self.block_size,
        );
        Limits {
            max_num_seqs: if self.sim_serialise {
                1
            } else {
                self.max_num_seqs
            },
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_model_len: self.max_model_len.unwrap_or(self.timing().max_model_len),
            block_size: self.block_size,
            blocks: self.num_gpu_blocks_override.unwrap_or(from_memory),
            prefix_caching: self.enable_prefix_caching,
            connects: self.connector().is_some(),
        }
    }

    /// What was said about handing KV caches on, where there is a connector for it.
    pub(super) fn connector(&self) -> Option<&Config> {
        self.kv_transfer_config
            .as_ref()
            .filter(|config| config.connects())
    }

    /// The faults of the running engine.
    pub(super) fn faults(&self) -> Faults {
        Faults {
            wedge_after: self.sim_wedge_after,
            cold: seconds(self.sim_cold_seconds),
            cold_after: self.sim_cold_after,
        }
    }
}

/// No time at all for what is none.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_of_another_vllm_is_refused() {
        let refusal = Args::typed("serve m --shutdown-timeout 5")
            .read()
            .expect_err("0.13 has no such flag");
        assert!(
            matches!(refusal, InvalidArgs::Unknown(words) if words == ["--shutdown-timeout", "5"])
        );
    }

    #[test]
    fn a_value_that_cannot_be_is_refused() {
        assert!(matches!(
            Args::typed("m --port many").read(),
            Err(InvalidArgs::Clap(_))
        ));
        assert!(matches!(
            Args::typed("m --port").read(),
            Err(InvalidArgs::Clap(_))
        ));
    }

    #[test]
    fn the_model_names_itself_unless_it_is_named() {
        assert_eq!(
            Args::typed("serve org/m")
                .read()
                .expect("is a line of vLLM")
                .names(),
            ["org/m"]
        );
        let named = Args::typed("org/m --served-model-name a b")
            .read()
            .expect("is a line of vLLM");
        assert_eq!(named.names(), ["a", "b"]);
    }

    #[test]
    fn serialising_is_one_sequence_at_a_time() {
        let options = Args::typed("m --sim-serialise")
            .read()
            .expect("is a line of vLLM");
        assert_eq!(options.limits().max_num_seqs, 1);
    }
}
