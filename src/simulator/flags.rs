//! The command line as vLLM 0.13.0 takes it: which flags there are, and what becomes of others.
//!
//! vLLM's argparse accepts `--a_b` for `--a-b`, and refuses what it does not know, which is how a
//! misspelt or newer flag shows. Flags that the simulator heeds are handed on to
//! [`super::args::Options`]; the rest is accepted and has no effect.

/// Flags that take no value. Each has its `--no-…`.
const SWITCHES: &str = "\
    aggregate-engine-logging allow-credentials async-scheduling calculate-kv-scales cudagraph-metrics \
    data-parallel-external-lb data-parallel-hybrid-lb disable-cascade-attn disable-chunked-mm-input \
    disable-custom-all-reduce disable-fastapi-docs disable-frontend-multiprocessing \
    disable-hybrid-kv-cache-manager disable-log-requests disable-log-stats disable-nccl-for-dp-synchronization \
    disable-sliding-window disable-uvicorn-access-log enable-auto-tool-choice enable-chunked-prefill enable-dbo \
    enable-eplb enable-expert-parallel enable-force-include-usage enable-layerwise-nvtx-tracing enable-log-outputs \
    enable-log-requests enable-lora enable-mm-embeds enable-prefix-caching enable-prompt-embeds \
    enable-prompt-tokens-details enable-request-id-headers enable-server-load-tracking enable-sleep-mode \
    enable-ssl-refresh enable-tokenizer-info-endpoint enforce-eager exclude-tools-when-tool-choice-none \
    fully-sharded-loras headless interleave-mm-strings kv-cache-metrics kv-sharing-fast-prefill log-error-stack \
    ray-workers-use-nsight return-tokens-as-token-ids skip-mm-profiling skip-tokenizer-init tokens-only \
    trust-remote-code trust-request-chat-template use-tqdm-on-load \
    sim-serialise sim-fit";

/// Flags that take one value.
const VALUES: &str = "\
    additional-config all2all-backend allowed-local-media-path api-server-count attention-backend attention-config \
    block-size chat-template chat-template-content-format code-revision compilation-config config config-format \
    convert cp-kv-cache-interleave-size cpu-offload-gb data-parallel-address data-parallel-backend \
    data-parallel-rank data-parallel-rpc-port data-parallel-size data-parallel-size-local data-parallel-start-rank \
    dbo-decode-token-threshold dbo-prefill-token-threshold dcp-kv-cache-interleave-size \
    decode-context-parallel-size default-mm-loras distributed-executor-backend download-dir dtype \
    ec-transfer-config eplb-config expert-placement-strategy generation-config gpu-memory-utilization \
    h11-max-header-count h11-max-incomplete-event-size hf-config-path hf-overrides hf-token host ignore-patterns \
    io-processor-plugin kv-cache-dtype kv-cache-memory-bytes kv-cache-metrics-sample kv-events-config \
    kv-offloading-backend kv-offloading-size kv-transfer-config limit-mm-per-prompt load-format log-config-file \
    logits-processor-pattern logprobs-mode long-prefill-token-threshold lora-dtype mamba-block-size \
    mamba-cache-dtype mamba-ssm-cache-dtype master-addr master-port max-cpu-loras max-cudagraph-capture-size \
    max-log-len max-logprobs max-long-partial-prefills max-lora-rank max-loras max-model-len \
    max-num-batched-tokens max-num-partial-prefills max-num-seqs max-parallel-loading-workers media-io-kwargs \
    mm-encoder-attn-backend mm-encoder-tp-mode mm-processor-cache-gb mm-processor-cache-type mm-processor-kwargs \
    mm-shm-cache-max-object-size-mb model model-impl model-loader-extra-config nnodes node-rank \
    num-gpu-blocks-override optimization-level otlp-traces-endpoint override-attention-dtype \
    override-generation-config pipeline-parallel-size pooler-config port prefill-context-parallel-size \
    prefix-caching-hash-algo profiler-config pt-load-map-location quantization reasoning-parser \
    reasoning-parser-plugin response-role revision root-path runner safetensors-load-strategy scheduler-cls \
    scheduling-policy seed show-hidden-metrics-for-version speculative-config ssl-ca-certs ssl-cert-reqs \
    ssl-certfile ssl-keyfile stream-interval structured-outputs-config swap-space tensor-parallel-size tokenizer \
    tokenizer-mode tokenizer-revision tool-call-parser tool-parser-plugin tool-server uds video-pruning-rate \
    worker-cls worker-extension-cls \
    profile sim-pace sim-load-seconds sim-fail-loading sim-wedge-after sim-poison sim-cold-after \
    sim-cold-seconds";

/// Flags that take one value or more.
const LISTS: &str = "\
    allowed-headers allowed-media-domains allowed-methods allowed-origins api-key collect-detailed-traces \
    cudagraph-capture-sizes logits-processors lora-modules middleware served-model-name";

/// What the simulator heeds.
const HEEDED: &str = "\
    api-key block-size disable-log-stats disable-uvicorn-access-log enable-prefix-caching \
    enable-prompt-tokens-details enable-request-id-headers enable-server-load-tracking enforce-eager \
    gpu-memory-utilization host kv-transfer-config max-model-len max-num-batched-tokens max-num-seqs model num-gpu-blocks-override port profile \
    served-model-name sim-cold-after sim-cold-seconds sim-fail-loading sim-fit sim-load-seconds sim-pace sim-poison sim-serialise \
    sim-wedge-after stream-interval";

const SHORT: &[(&str, &str)] = &[
    ("-q", "quantization"),
    ("-O", "optimization-level"),
    ("-n", "nnodes"),
    ("-r", "node-rank"),
    ("-tp", "tensor-parallel-size"),
    ("-pp", "pipeline-parallel-size"),
    ("-dp", "data-parallel-size"),
    ("-dpa", "data-parallel-address"),
    ("-dpl", "data-parallel-size-local"),
    ("-cc", "compilation-config"),
    ("-ac", "attention-config"),
];

/// Every flag there is, without its dashes.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    let lists = [SWITCHES, VALUES, LISTS].into_iter();
    lists.flat_map(str::split_whitespace)
}

/// The command line, sorted.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sorted {
    /// What [`super::args::Options`] understands, each as `--flag=value`.
    pub(super) heeded: Vec<String>,
    /// What vLLM would not know.
    pub(super) unknown: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    One,
    Many,
}

/// Sorts the words that follow `simulate`.
pub(super) fn sort(words: &[String]) -> Sorted {
    let mut sorted = Sorted::default();
    // `vllm serve MODEL`: the same word order works here, so that this can stand in for `vllm`.
    let mut words = words.strip_prefix(&["serve".to_owned()]).unwrap_or(words);
    let mut has_model = false;
    while let Some((word, rest)) = words.split_first() {
        words = rest;
        if matches!(word.as_str(), "-h" | "--help") {
            sorted.heeded.push(word.clone());
        } else if !word.starts_with('-') && !has_model {
            has_model = true;
            sorted.heeded.push(format!("--model={word}"));
        } else if let Some(flag) = Flag::read(word) {
            let values = flag.values(&mut words);
            flag.hand_on(&values, &mut sorted);
        } else {
            sorted.unknown.push(word.clone());
        }
    }
    sorted
}

/// A flag that vLLM knows, as written.
struct Flag<'a> {
    name: String,
    negated: bool,
    attached: Option<&'a str>,
    takes: Takes,
}

impl<'a> Flag<'a> {
    fn read(word: &'a str) -> Option<Self> {
        let (written, attached) = word
            .split_once('=')
            .map_or((word, None), |(flag, value)| (flag, Some(value)));
        let name = match SHORT.iter().find(|(short, _)| *short == written) {
            Some((_, name)) => (*name).to_owned(),
            None => written.strip_prefix("--")?.replace('_', "-"),
        };
        if let Some(takes) = takes(&name) {
            return Some(Self {
                name,
                negated: false,
                attached,
                takes,
            });
        }
        let positive = name
            .strip_prefix("no-")
            .filter(|name| takes(name) == Some(Takes::Nothing))?;
        Some(Self {
            name: positive.to_owned(),
            negated: true,
            attached,
            takes: Takes::Nothing,
        })
    }

    /// Takes the values that belong to the flag from the words after it.
    fn values(&self, words: &mut &'a [String]) -> Vec<&'a str> {
        let most = match (self.takes, self.attached) {
            (Takes::Nothing, _) => 0,
            (_, Some(value)) => return vec![value],
            (Takes::One, None) => 1,
            (Takes::Many, None) => usize::MAX,
        };
        let count = words
            .iter()
            .take(most)
            .take_while(|word| is_value(word))
            .count();
        let (values, rest) = words.split_at(count);
        *words = rest;
        values.iter().map(String::as_str).collect()
    }

    fn hand_on(&self, values: &[&str], sorted: &mut Sorted) {
        let Self { name, negated, .. } = self;
        if !lists(HEEDED, name) {
            return;
        }
        match self.takes {
            Takes::Nothing => sorted.heeded.push(format!("--{name}={}", !negated)),
            // Said without its value, so that the parser complains about it.
            _ if values.is_empty() => sorted.heeded.push(format!("--{name}")),
            _ => sorted
                .heeded
                .extend(values.iter().map(|value| format!("--{name}={value}"))),
        }
    }
}

/// Whether argparse takes this word as a value: no dash, or a negative number.
fn is_value(word: &str) -> bool {
    !word.starts_with('-') || word.parse::<f64>().is_ok()
}

fn takes(name: &str) -> Option<Takes> {
    let tables = [
        (SWITCHES, Takes::Nothing),
        (VALUES, Takes::One),
        (LISTS, Takes::Many),
    ];
    tables
        .into_iter()
        .find(|(table, _)| lists(table, name))
        .map(|(_, takes)| takes)
}

fn lists(table: &str, name: &str) -> bool {
    table.split(' ').any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(line: &str) -> Sorted {
        sort(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn vllms_own_spelling_is_understood() {
        let line = "serve m/tiny --host 127.0.0.1 --port=8100 --served_model_name a b --dtype float32 -tp 2 \
                    --no-enable-prefix-caching --enforce-eager --api-key k --seed -1";
        let expected = [
            "--model=m/tiny",
            "--host=127.0.0.1",
            "--port=8100",
            "--served-model-name=a",
            "--served-model-name=b",
            "--enable-prefix-caching=false",
            "--enforce-eager=true",
            "--api-key=k",
        ];
        assert_eq!(sorted(line).heeded, expected);
        assert!(sorted(line).unknown.is_empty());
    }

    #[test]
    fn what_vllm_does_not_know_is_named_with_what_follows_it() {
        let line = sorted("m --shutdown-timeout 5 --no-port --port 1");
        assert_eq!(line.unknown, ["--shutdown-timeout", "5", "--no-port"]);
        assert_eq!(line.heeded, ["--model=m", "--port=1"]);
    }

    #[test]
    fn every_heeded_flag_is_a_known_one() {
        for name in HEEDED.split(' ') {
            assert!(takes(name).is_some(), "{name}");
        }
    }
}
