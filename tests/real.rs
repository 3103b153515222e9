//! Real vLLM 0.13.0 on CPUs: on the lab's hosts, and beside the simulator that imitates it.
//!
//! `bash tests/real/install.sh && cargo test --test real` runs them. Where real vLLM is not there,
//! a scenario says `SKIPPED` and why.

#[path = "lab"]
#[expect(dead_code, reason = "the lab has more than these scenarios use")]
mod scenarios {
    mod hosts;
    mod laptop;
    mod looking;
    mod sharing;
    mod sides;
    mod stage;
    mod traffic;

    #[path = "../real/asking.rs"]
    mod asking;
    #[path = "../real/believed.rs"]
    mod believed;
    #[path = "../real/claims.rs"]
    mod claims;
    #[path = "../real/comparing.rs"]
    mod comparing;
    #[path = "../real/fetching.rs"]
    mod fetching;
    #[path = "../real/http.rs"]
    mod http;
    #[path = "../real/installed.rs"]
    mod installed;
    #[path = "../real/server.rs"]
    mod server;
    #[path = "../real/serving.rs"]
    mod serving;
    #[path = "../real/splitting.rs"]
    mod splitting;
    #[path = "../real/starting.rs"]
    mod starting;
    #[path = "../real/starting_first.rs"]
    mod starting_first;
}
