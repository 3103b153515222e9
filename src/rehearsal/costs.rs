//! What a request costs beside its engine. None of it is nothing, and none of it decides a comparison:
//! each is a constant, and the same for whatever is compared.

use std::time::Duration;

/// A packet from one process to another, be it on the same machine or over a switch: a round trip over
/// loopback takes 50 us with the work of both ends (`tests/perf`, direct, one in flight), over gigabit
/// Ethernet 100 to 200.
pub(super) const WIRE: Duration = Duration::from_micros(40);

/// What the proxy adds to a request, or to an event of its answer: 60 us in both directions together at one
/// in flight, twice to four times as much under load (`tests/perf`).
pub(super) const PROXY: Duration = Duration::from_micros(50);

/// What the client needs to send a request, one after another: 35 us of a core (`tests/perf`).
pub(super) const SENDING: Duration = Duration::from_micros(35);

/// From the prompt's last token, as the proxy has it, until it has sent for the answer: at most 150 us are
/// allowed at the median for bodies of 8 KB (`tests/perf/handover.py`).
pub(super) const HAND_OVER: Duration = Duration::from_micros(150);

/// What the simulated server's HTTP takes before its engine knows of a request.
pub(super) const SIMULATED_SERVER: Duration = Duration::from_micros(50);

/// The same of vLLM's: to read, to tokenise and to hand over to its engine. An estimate.
pub(super) const VLLM_SERVER: Duration = Duration::from_millis(2);

/// Bytes a second between nodes that have no `fabric` address: 10 Gb/s Ethernet, but for its headers. An
/// assumption.
pub(super) const LAN_BYTES_PER_SECOND: f64 = 1.15e9;
