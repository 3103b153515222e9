//! What each path means.
//!
//! Below `/v1` everything passes, so that what an engine learns tomorrow works through the proxy.
//! Elsewhere what is named here passes: the paths of vLLM 0.13, whose engine is told what to do
//! there too. What changes one server would leave the others as they were, and nobody would know
//! which: that is for the server itself, and not for the port before several.

use hyper::Method;

/// What vLLM answers outside `/v1`, and clients use.
const PASSED: [&str; 16] = [
    "/classify",
    "/detokenize",
    "/inference/v1/generate",
    "/invocations",
    "/is_paused",
    "/is_scaling_elastic_ep",
    "/is_sleeping",
    "/load",
    "/ping",
    "/pooling",
    "/rerank",
    "/score",
    "/tokenize",
    "/tokenizer_info",
    "/v2/rerank",
    "/version",
];

/// What is done to the one server that is asked, and what it does there.
const OF_ONE_SERVER: [(&str, &str); 20] = [
    ("/abort_requests", "end requests on"),
    ("/adapters", "change the adapters of"),
    ("/collective_rpc", "call into"),
    ("/finish_weight_update", "change the weights of"),
    ("/init_weight_transfer_engine", "change the weights of"),
    ("/pause", "pause"),
    ("/reset_encoder_cache", "empty a cache of"),
    ("/reset_mm_cache", "empty a cache of"),
    ("/reset_prefix_cache", "empty a cache of"),
    ("/resume", "resume"),
    ("/scale_elastic_ep", "scale"),
    ("/server_info", "tell the whole configuration of"),
    ("/sleep", "put to sleep"),
    ("/start_profile", "profile"),
    ("/start_weight_update", "change the weights of"),
    ("/stop_profile", "end the profile of"),
    ("/update_weights", "change the weights of"),
    ("/v1/load_lora_adapter", "change the adapters of"),
    ("/v1/unload_lora_adapter", "change the adapters of"),
    ("/wake_up", "wake"),
];

/// What is done about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Ready,
    Metrics,
    Models,
    /// vLLM redirects to the same path without the slash at its end. Below `/v1` it does so itself, but
    /// for the list, which is answered here.
    WithSlash,
    Pass,
    /// It would do this, to one server of several.
    OfOneServer(&'static str),
    Unknown,
}

impl Route {
    /// What is meant by a path whose escapes are undone.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        match path {
            // No key is asked for these, and a redirect to them would ask for one more request.
            "/health" | "/health/" => Self::Health,
            "/ready" | "/ready/" => Self::Ready,
            "/metrics" | "/metrics/" => Self::Metrics,
            "/v1/models" if method == Method::GET => Self::Models,
            "/v1/models/" if method == Method::GET => Self::WithSlash,
            _ => match of_one_server(path) {
                Some(does) => Self::OfOneServer(does),
                None if path.starts_with("/v1/") || PASSED.contains(&path) => Self::Pass,
                None => match path.strip_suffix('/') {
                    Some(path) if PASSED.contains(&path) => Self::WithSlash,
                    _ => Self::Unknown,
                },
            },
        }
    }

    /// Whether a client has to show a key, where keys are declared: for everything that reaches a
    /// server. vLLM itself wants one on `/v1` alone, and leaves `/invocations`, `/pooling` and
    /// `/inference/v1/generate` to everybody.
    pub(super) fn wants_key(self) -> bool {
        !matches!(
            self,
            Self::Health | Self::Ready | Self::Metrics | Self::Unknown
        )
    }
}

/// What a path does to one server.
fn of_one_server(path: &str) -> Option<&'static str> {
    // A slash at the end leads to the same (vLLM redirects), and `/adapters/NAME` is of `/adapters`.
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = match path.strip_prefix("/adapters/") {
        Some(_) => "/adapters",
        None => path,
    };
    let known = OF_ONE_SERVER.iter().find(|(known, _)| *known == path);
    known.map(|(_, does)| *does)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_meaning() {
        for (method, path, meaning) in [
            (Method::GET, "/health", Route::Health),
            (Method::GET, "/ready", Route::Ready),
            (Method::GET, "/metrics", Route::Metrics),
            (Method::GET, "/v1/models", Route::Models),
            (Method::GET, "/v1/models/", Route::WithSlash),
            (Method::POST, "/v1/models/", Route::Pass),
            (Method::POST, "/v1/completions/", Route::Pass),
            (Method::POST, "/v1/models", Route::Pass),
            (Method::GET, "/v1/models/tiny", Route::Pass),
            (Method::DELETE, "/v1/anything/new", Route::Pass),
            (Method::GET, "/", Route::Unknown),
            (Method::GET, "/v1", Route::Unknown),
            (Method::GET, "/v2/anything", Route::Unknown),
            (Method::GET, "/metrics/", Route::Metrics),
            (Method::GET, "/health/", Route::Health),
            (Method::GET, "/ready/", Route::Ready),
            (Method::POST, "/tokenize/", Route::WithSlash),
            (Method::GET, "/tokenize//", Route::Unknown),
            (Method::POST, "/v2/rerank/", Route::WithSlash),
            (Method::POST, "/nothing/", Route::Unknown),
            (Method::GET, "/docs", Route::Unknown),
            (Method::OPTIONS, "*", Route::Unknown),
        ] {
            assert_eq!(Route::of(&method, path), meaning, "{method} {path}");
        }
    }

    /// The routes of vLLM 0.13 with every endpoint switched on (`build_app`, in development mode,
    /// with a profiler, adapters and `--tokens-only`), by what is done about them here.
    #[test]
    fn every_route_of_vllm_has_a_meaning() {
        let passed = "
            POST /v1/chat/completions, POST /v1/completions, POST /v1/responses,
            GET /v1/responses/resp_1, POST /v1/responses/resp_1/cancel, POST /v1/messages,
            POST /v1/audio/transcriptions, POST /v1/audio/translations, POST /v1/embeddings,
            POST /v1/score, POST /v1/rerank, POST /v2/rerank, POST /score, POST /rerank,
            POST /pooling, POST /classify, POST /tokenize, POST /detokenize, GET /tokenizer_info,
            POST /inference/v1/generate, POST /invocations, GET /ping, POST /ping, GET /load,
            GET /version, GET /is_sleeping, GET /is_paused, POST /is_scaling_elastic_ep";
        let of_one_server = "
            POST /v1/load_lora_adapter, POST /v1/unload_lora_adapter, POST /adapters,
            DELETE /adapters/x, POST /sleep, POST /wake_up, POST /pause, POST /resume,
            POST /reset_prefix_cache, POST /reset_mm_cache, POST /collective_rpc,
            POST /start_profile, POST /stop_profile, POST /scale_elastic_ep, POST /abort_requests,
            GET /server_info, POST /v1/load_lora_adapter/, GET /sleep";
        for (routes, passes) in [(passed, true), (of_one_server, false)] {
            for route in routes.split(',') {
                let (method, path) = route.trim().split_once(' ').unwrap();
                let meaning = Route::of(&method.parse().unwrap(), path);
                let right = match meaning {
                    Route::Pass => passes,
                    Route::OfOneServer(_) => !passes,
                    _ => false,
                };
                assert!(right, "{route}: {meaning:?}");
                assert!(meaning.wants_key());
            }
        }
    }

    #[test]
    fn what_is_looked_up_is_sorted() {
        assert!(OF_ONE_SERVER.is_sorted());
        assert!(PASSED.is_sorted());
    }
}
