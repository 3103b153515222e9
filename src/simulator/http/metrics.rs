//! /metrics: Prometheus' text, with the names, labels and order of vLLM 0.13.0.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::sleep;

use super::prometheus::Page;
use super::{Answer, Server};
use crate::simulator::stats::{Histogram, Nixl, Stats};

/// How often vLLM says what it does.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Name, help and count.
type Counter = (&'static str, &'static str, fn(&Stats) -> u64);
/// Name, help and values.
type Values = (&'static str, &'static str, fn(&Stats) -> &Histogram);

/// The same of the connector.
type Transfers = (&'static str, &'static str, fn(&Nixl) -> &Histogram);
type Failed = (&'static str, &'static str, fn(&Nixl) -> u64);

const COUNTERS: &[Counter] = &[
    (
        "prefix_cache_queries",
        "Prefix cache queries, in terms of number of queried tokens.",
        |stats| stats.prefix_queries,
    ),
    (
        "prefix_cache_hits",
        "Prefix cache hits, in terms of number of cached tokens.",
        |stats| stats.prefix_hits,
    ),
    (
        "external_prefix_cache_queries",
        "External prefix cache queries from KV connector cross-instance cache sharing, in terms of number of queried \
         tokens.",
        |stats| stats.external_queries,
    ),
    (
        "external_prefix_cache_hits",
        "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of cached \
         tokens.",
        |stats| stats.external_hits,
    ),
    (
        "num_preemptions",
        "Cumulative number of preemption from the engine.",
        |stats| stats.preemptions,
    ),
    (
        "prompt_tokens",
        "Number of prefill tokens processed.",
        |stats| stats.prompt_tokens,
    ),
    (
        "generation_tokens",
        "Number of generation tokens processed.",
        |stats| stats.generation_tokens,
    ),
];

const TRANSFERS: &[Transfers] = &[
    (
        "nixl_xfer_time_seconds",
        "Histogram of transfer duration for NIXL KV Cache transfers.",
        |nixl| &nixl.transfer_time,
    ),
    (
        "nixl_post_time_seconds",
        "Histogram of transfer post time for NIXL KV Cache transfers.",
        |nixl| &nixl.post_time,
    ),
    (
        "nixl_bytes_transferred",
        "Histogram of bytes transferred per NIXL KV Cache transfers.",
        |nixl| &nixl.bytes,
    ),
    (
        "nixl_num_descriptors",
        "Histogram of number of descriptors per NIXL  KV Cache transfers.",
        |nixl| &nixl.descriptors,
    ),
];

/// The last is of newer versions: 0.13.0 only logs what expires.
const FAILED_TRANSFERS: &[Failed] = &[
    (
        "nixl_num_failed_transfers",
        "Number of failed NIXL KV Cache transfers.",
        |nixl| nixl.failed_transfers,
    ),
    (
        "nixl_num_failed_notifications",
        "Number of failed NIXL KV Cache notifications.",
        |nixl| nixl.failed_notifications,
    ),
    (
        "nixl_num_kv_expired_reqs",
        "Number of requests that had their KV expire.",
        |nixl| nixl.expired,
    ),
];

const HISTOGRAMS: &[Values] = &[
    (
        "request_prompt_tokens",
        "Number of prefill tokens processed.",
        |stats| &stats.request_prompt_tokens,
    ),
    (
        "request_generation_tokens",
        "Number of generation tokens processed.",
        |stats| &stats.request_generation_tokens,
    ),
    (
        "iteration_tokens_total",
        "Histogram of number of tokens per engine_step.",
        |stats| &stats.step_tokens,
    ),
    (
        "request_max_num_generation_tokens",
        "Histogram of maximum number of requested generation tokens.",
        |stats| &stats.max_generation_tokens,
    ),
    (
        "request_params_n",
        "Histogram of the n request parameter.",
        |stats| &stats.params_n,
    ),
    (
        "request_params_max_tokens",
        "Histogram of the max_tokens request parameter.",
        |stats| &stats.params_max_tokens,
    ),
    (
        "time_to_first_token_seconds",
        "Histogram of time to first token in seconds.",
        |stats| &stats.first_token,
    ),
    (
        "inter_token_latency_seconds",
        "Histogram of inter-token latency in seconds.",
        |stats| &stats.inter_token,
    ),
    (
        "request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        |stats| &stats.time_per_token,
    ),
    (
        "e2e_request_latency_seconds",
        "Histogram of e2e request latency in seconds.",
        |stats| &stats.whole,
    ),
    (
        "request_queue_time_seconds",
        "Histogram of time spent in WAITING phase for request.",
        |stats| &stats.queue,
    ),
    (
        "request_inference_time_seconds",
        "Histogram of time spent in RUNNING phase for request.",
        |stats| &stats.inference,
    ),
    (
        "request_prefill_time_seconds",
        "Histogram of time spent in PREFILL phase for request.",
        |stats| &stats.prefill,
    ),
    (
        "request_decode_time_seconds",
        "Histogram of time spent in DECODE phase for request.",
        |stats| &stats.decode,
    ),
    (
        "request_prefill_kv_computed_tokens",
        "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
        |stats| &stats.computed_tokens,
    ),
];

/// The page.
pub(super) fn page(server: &Server) -> Answer {
    let (stats, running, waiting, usage) = {
        let books = server.engine.books();
        (
            books.stats.clone(),
            books.running(),
            books.waiting(),
            books.kv_usage(),
        )
    };
    let mut page = Page {
        text: String::new(),
        model: server.names[0].clone(),
        created: seconds(server),
    };
    page.process();
    if server.connector.is_some() {
        page.transfers(&stats.nixl);
    }
    page.gauge(
        "num_requests_running",
        "Number of requests in model execution batches.",
        running as f64,
    );
    page.gauge(
        "num_requests_waiting",
        "Number of requests waiting to be processed.",
        waiting as f64,
    );
    page.sleep_state();
    page.gauge(
        "kv_cache_usage_perc",
        "KV-cache usage. 1 means 100 percent usage.",
        usage,
    );
    page.counters(&stats);
    page.histograms(&stats);
    page.cache_config(server);
    Answer::Whole {
        status: StatusCode::OK,
        content_type: Some("text/plain; version=1.0.0; charset=utf-8"),
        body: page.text.into(),
    }
}

fn seconds(server: &Server) -> f64 {
    server.started.as_millisecond() as f64 / 1000.0
}

impl Page {
    fn sleep_state(&mut self) {
        let name = "vllm:engine_sleep_state";
        let help = "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; \
                    weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.";
        self.head(name, help, "gauge");
        for (state, value) in [
            ("awake", 1.0),
            ("weights_offloaded", 0.0),
            ("discard_all", 0.0),
        ] {
            self.sample(name, &[("sleep_state", state)], value);
        }
    }

    fn transfers(&mut self, nixl: &Nixl) {
        for (name, help, histogram) in TRANSFERS {
            self.histogram(name, help, histogram(nixl));
        }
        for (name, help, count) in FAILED_TRANSFERS {
            self.counter(name, help, &[(&[], count(nixl))]);
        }
    }

    fn counters(&mut self, stats: &Stats) {
        for (name, help, count) in COUNTERS {
            self.counter(name, help, &[(&[], count(stats))]);
        }
        let [stop, length, abort, error] = stats.ended;
        self.counter(
            "request_success",
            "Count of successfully processed requests.",
            &[
                (&[("finished_reason", "stop")], stop),
                (&[("finished_reason", "length")], length),
                (&[("finished_reason", "abort")], abort),
                (&[("finished_reason", "error")], error),
            ],
        );
    }

    fn histograms(&mut self, stats: &Stats) {
        for (name, help, histogram) in HISTOGRAMS {
            self.histogram(name, help, histogram(stats));
        }
    }

    fn cache_config(&mut self, server: &Server) {
        let name = "vllm:cache_config_info";
        self.head(name, "Information of the LLMEngine CacheConfig", "gauge");
        let (limits, options) = (&server.limits, &server.options);
        let python = |truth| if truth { "True" } else { "False" };
        let _ = writeln!(
            self.text,
            "{name}{{block_size=\"{}\",cache_dtype=\"auto\",enable_prefix_caching=\"{}\",engine=\"0\",\
             gpu_memory_utilization=\"{:?}\",num_cpu_blocks=\"0\",num_gpu_blocks=\"{}\",\
             num_gpu_blocks_override=\"{}\"}} 1.0",
            limits.block_size,
            python(limits.prefix_caching),
            options.gpu_memory_utilization,
            limits.blocks,
            options
                .num_gpu_blocks_override
                .map_or_else(|| "None".to_owned(), |blocks| blocks.to_string()),
        );
    }
}

/// Says every ten seconds what the engine does, unless it does and did nothing.
pub(in crate::simulator) async fn log_throughput(server: Arc<Server>) {
    if server.options.disable_log_stats {
        return;
    }
    let (mut prompt_before, mut generated_before, mut was_idle) = (0, 0, true);
    loop {
        sleep(LOG_INTERVAL).await;
        let (line, idle) = {
            let books = server.engine.books();
            let stats = &books.stats;
            let rate = |now: u64, before: u64| (now - before) as f64 / LOG_INTERVAL.as_secs_f64();
            let prompts = rate(stats.prompt_tokens, prompt_before);
            let generated = rate(stats.generation_tokens, generated_before);
            (prompt_before, generated_before) = (stats.prompt_tokens, stats.generation_tokens);
            let hits = stats.prefix_hits as f64 / stats.prefix_queries.max(1) as f64;
            let line = format!(
                "Engine 000: Avg prompt throughput: {prompts:.1} tokens/s, Avg generation throughput: {generated:.1} \
                 tokens/s, Running: {} reqs, Waiting: {} reqs, GPU KV cache usage: {:.1}%, Prefix cache hit rate: \
                 {:.1}%",
                books.running(),
                books.waiting(),
                books.kv_usage() * 100.0,
                hits * 100.0
            );
            (line, prompts + generated == 0.0)
        };
        if !(idle && was_idle) {
            server.log.info("loggers.py:248", &line);
        }
        was_idle = idle;
    }
}
