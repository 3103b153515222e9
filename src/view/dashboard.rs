//! A dashboard of Grafana for what the proxy and vLLM count.
//!
//! The names are those of the proxy's own page and of vLLM 0.13; that they are served is tested. The form is
//! that of Grafana's JSON model (schema version 39, Grafana 10.4 and later), whose source of data is chosen
//! where it is imported.

use serde_json::{Value, json};

/// A row of panels.
struct Row {
    title: &'static str,
    panels: &'static [Panel],
}

/// What is drawn over time.
struct Panel {
    title: &'static str,
    about: &'static str,
    /// In the words of Grafana: `s`, `reqps`, `percentunit`, `short`.
    unit: &'static str,
    /// What Prometheus is asked, and what each line is called by its labels.
    lines: &'static [(&'static str, &'static str)],
}

const ROWS: [Row; 4] = [
    Row {
        title: "Clients, as the proxy sees them",
        panels: &[
            Panel {
                title: "Requests by outcome",
                about: "What came of requests, in the words of the ledger: all but ok, client_error and aborted \
                        is a failure.",
                unit: "reqps",
                lines: &[(
                    "sum by (outcome) (rate(replica_proxy_ledger_total[$__rate_interval]))",
                    "{{outcome}}",
                )],
            },
            Panel {
                title: "Time to first token",
                about: "From the head of a request to the first event of its stream.",
                unit: "s",
                lines: &[
                    (
                        "histogram_quantile(0.5, sum by (le, instance) (rate(replica_proxy_ttft_seconds_bucket[$__rate_interval])))",
                        "p50 {{instance}}",
                    ),
                    (
                        "histogram_quantile(0.95, sum by (le, instance) (rate(replica_proxy_ttft_seconds_bucket[$__rate_interval])))",
                        "p95 {{instance}}",
                    ),
                ],
            },
            Panel {
                title: "Whole requests",
                about: "From the head of a request to the end of an answer that was passed on whole.",
                unit: "s",
                lines: &[
                    (
                        "histogram_quantile(0.5, sum by (le, instance) (rate(replica_proxy_request_seconds_bucket[$__rate_interval])))",
                        "p50 {{instance}}",
                    ),
                    (
                        "histogram_quantile(0.95, sum by (le, instance) (rate(replica_proxy_request_seconds_bucket[$__rate_interval])))",
                        "p95 {{instance}}",
                    ),
                ],
            },
            Panel {
                title: "Waiting for an instance",
                about: "Requests in the queue, as all instances that are ready have as many as they may.",
                unit: "short",
                lines: &[("replica_proxy_queued", "queued")],
            },
        ],
    },
    Row {
        title: "Instances, as the proxy sees them",
        panels: &[
            Panel {
                title: "Ready",
                about: "Whether requests go there.",
                unit: "short",
                lines: &[("replica_proxy_ready", "{{instance}}")],
            },
            Panel {
                title: "In flight",
                about: "Requests that are at an instance, to the end of their streams.",
                unit: "short",
                lines: &[("replica_proxy_inflight", "{{instance}}")],
            },
            Panel {
                title: "Failed attempts and ejections",
                about: "Attempts that were unreachable or broken, and how often an instance was taken out.",
                unit: "reqps",
                lines: &[
                    (
                        "sum by (instance, reason) (rate(replica_proxy_attempt_failures_total[$__rate_interval]))",
                        "{{instance}} {{reason}}",
                    ),
                    (
                        "sum by (instance, reason) (rate(replica_proxy_ejections_total[$__rate_interval]))",
                        "{{instance}} taken out by a {{reason}}",
                    ),
                ],
            },
            Panel {
                title: "Second attempts",
                about: "Those that the budget granted, and those that it refused.",
                unit: "reqps",
                lines: &[(
                    "sum by (outcome) (rate(replica_proxy_retries_total[$__rate_interval]))",
                    "{{outcome}}",
                )],
            },
        ],
    },
    Row {
        title: "Engines, by their own count",
        panels: &[
            Panel {
                title: "Requests running and waiting",
                about: "In the batch of an engine, and before it.",
                unit: "short",
                lines: &[
                    ("vllm:num_requests_running", "running at {{instance}}"),
                    ("vllm:num_requests_waiting", "waiting at {{instance}}"),
                ],
            },
            Panel {
                title: "Tokens a second",
                about: "Prompt tokens computed, and tokens generated.",
                unit: "short",
                lines: &[
                    (
                        "rate(vllm:prompt_tokens_total[$__rate_interval])",
                        "prompt {{instance}}",
                    ),
                    (
                        "rate(vllm:generation_tokens_total[$__rate_interval])",
                        "generated {{instance}}",
                    ),
                ],
            },
            Panel {
                title: "KV cache in use",
                about: "Near 1, requests wait for blocks or are preempted.",
                unit: "percentunit",
                lines: &[("vllm:kv_cache_usage_perc", "{{instance}}")],
            },
            Panel {
                title: "Time between tokens",
                about: "As the engine counts it, before any network.",
                unit: "s",
                lines: &[
                    (
                        "histogram_quantile(0.5, sum by (le, instance) (rate(vllm:inter_token_latency_seconds_bucket[$__rate_interval])))",
                        "p50 {{instance}}",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le, instance) (rate(vllm:inter_token_latency_seconds_bucket[$__rate_interval])))",
                        "p99 {{instance}}",
                    ),
                ],
            },
            Panel {
                title: "Prefix cache hits",
                about: "Of the prompt tokens that were looked for, as many were cached.",
                unit: "percentunit",
                lines: &[(
                    "rate(vllm:prefix_cache_hits_total[$__rate_interval]) / rate(vllm:prefix_cache_queries_total[$__rate_interval])",
                    "{{instance}}",
                )],
            },
            Panel {
                title: "Preemptions",
                about: "Requests that lost their blocks and are computed again.",
                unit: "reqps",
                lines: &[(
                    "rate(vllm:num_preemptions_total[$__rate_interval])",
                    "{{instance}}",
                )],
            },
        ],
    },
    Row {
        title: "Prefill and decode apart",
        panels: &[
            Panel {
                title: "Prompts by what came of their hand-over",
                about: "handed_over is a split that happened; collapsed and missing are none.",
                unit: "reqps",
                lines: &[(
                    "sum by (outcome) (rate(replica_proxy_handoffs_total[$__rate_interval]))",
                    "{{outcome}}",
                )],
            },
            Panel {
                title: "Hand-over",
                about: "From the last byte of the one that reads to the first byte for the one that writes.",
                unit: "s",
                lines: &[(
                    "histogram_quantile(0.5, sum by (le) (rate(replica_proxy_handoff_seconds_bucket[$__rate_interval])))",
                    "p50",
                )],
            },
            Panel {
                title: "Held and not fetched",
                about: "Prompts whose keys and values wait at the one that has read them.",
                unit: "short",
                lines: &[("replica_proxy_handoff_unfetched", "{{instance}}")],
            },
            Panel {
                title: "Bytes fetched",
                about: "What NIXL has moved to the ones that write answers.",
                unit: "Bps",
                lines: &[(
                    "rate(vllm:nixl_bytes_transferred_sum[$__rate_interval])",
                    "{{instance}}",
                )],
            },
        ],
    },
];

/// How many panels stand beside each other, and how wide and high each is in Grafana's grid of 24.
const BESIDE: usize = 2;
const WIDTH: usize = 24 / BESIDE;
const HEIGHT: usize = 8;

/// The dashboard, as Grafana imports it.
pub fn dashboard() -> Value {
    let mut panels = Vec::new();
    let mut top = 0;
    for row in &ROWS {
        panels.push(json!({
            "type": "row",
            "title": row.title,
            "collapsed": false,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": 24, "h": 1},
        }));
        for (place, panel) in row.panels.iter().enumerate() {
            let (x, y) = (place % BESIDE * WIDTH, top + 1 + place / BESIDE * HEIGHT);
            panels.push(panel.drawn(x, y));
        }
        top += 1 + row.panels.len().div_ceil(BESIDE) * HEIGHT;
    }
    for (id, panel) in panels.iter_mut().enumerate() {
        panel["id"] = json!(id + 1);
    }
    json!({
        "title": "replica",
        "uid": "replica",
        "tags": ["replica", "vllm"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [{
            "name": "source",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
        }]},
        "panels": panels,
    })
}

impl Panel {
    /// It, with its corner there.
    fn drawn(&self, x: usize, y: usize) -> Value {
        let source = json!({"type": "prometheus", "uid": "${source}"});
        let targets = self.lines.iter().zip('A'..).map(|((expr, legend), name)| {
            json!({
                "refId": name.to_string(),
                "datasource": source,
                "expr": expr,
                "legendFormat": legend,
            })
        });
        json!({
            "type": "timeseries",
            "title": self.title,
            "description": self.about,
            "datasource": source,
            "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, "custom": {"fillOpacity": 10, "showPoints": "never"}},
                "overrides": [],
            },
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No panel lies on another, and none is without a question.
    #[test]
    fn every_panel_has_a_place_of_its_own() {
        let dashboard = dashboard();
        let panels = dashboard["panels"].as_array().unwrap();
        let mut taken = std::collections::BTreeSet::new();
        for panel in panels {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            for y in at("y")..at("y") + at("h") {
                for x in at("x")..at("x") + at("w") {
                    assert!(x < 24 && taken.insert((x, y)), "{}", panel["title"]);
                }
            }
            let asks = panel["targets"].as_array().map_or(0, Vec::len);
            assert!(panel["type"] == "row" || asks > 0, "{}", panel["title"]);
        }
    }
}
