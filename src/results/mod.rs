//! What came of a measurement: its records and what they come to, kept whole, found again, and set
//! beside other results.
//!
//! A [`Record`] is one request; a [`Summary`] is what the records of a load come to; a
//! [`BenchResult`] is both with their conditions, and with what speaks against them ([`Anomaly`]).
//! All of it is data and pure functions of it but the store, which writes and reads files.
//!
//! Left to others: sending (`load`), and judging (`verdict`).

mod achieved;
mod anomaly;
mod baseline;
mod canary;
mod comparison;
mod conditions;
pub mod export;
mod facts;
mod failed_if;
mod fetched;
mod figures;
pub(crate) mod hand_over;
mod headline;
mod left_out;
mod metric;
mod notebook;
mod pressure;
pub mod quantile;
mod reconcile;
mod record;
mod result;
mod roofline;
mod rounds;
mod server;
mod slo;
mod store;
mod stored;
mod summary;
mod terms;
mod under_way;
mod unproved;
mod vllm;
mod warmup;

pub use achieved::{Achieved, Lag};
pub use anomaly::{Anomaly, Severity, Subject};
#[cfg(test)]
pub(crate) use baseline::read as read_baseline;
pub(crate) use baseline::{Baseline, Claim, Origin, baseline_at};
pub use baseline::{check as check_baseline, is_pointer};
pub(crate) use canary::history as canary_history;
pub use canary::{Canaries, Canary, IdleCanaries};
pub(crate) use conditions::ServerSeen;
pub use conditions::{Conditions, Surveyed};
pub use facts::{ClientFacts, JobFacts, Lengths, Overhead, PromptFacts, Run, Tool};
pub use failed_if::FailedIf;
pub use fetched::Fetched;
pub(crate) use figures::{BatchFigures, Figures, differ};
pub use hand_over::HandOver;
pub use headline::{Headline, Single, throughput};
pub use left_out::LeftOut;
pub(crate) use left_out::Reads;
pub use metric::{InvalidMetric, Metric};
pub use notebook::can_be_saved;
pub(crate) use notebook::save as save_for_the_notebook;
pub use pressure::{CpuPressure, Pressure};
pub(crate) use quantile::tidy;
pub use reconcile::{Both, Reconcile};
pub use record::{Echo, KeptPrompt, Record, Stamps, Status};
pub(crate) use record::{by_instance, prefilled};
pub(crate) use result::are_valid;
pub use result::{
    BaselineRun, BenchResult, Comparison, Cut, Files, Point, Row, SCHEMA, is_on_cpus, is_simulated,
};
pub(crate) use roofline::rooflines;
pub use roofline::{Bound, Roofline};
pub(crate) use rounds::by_round;
pub use rounds::{Round, Rounds};
pub(crate) use server::Scraped;
pub use server::{Delta, GaugeSample, Gauges, MeanTimes, ServerMetrics};
pub use slo::Attained;
pub use store::{PastResult, past_results, single_throughput};
pub(crate) use store::{RunFiles, pretty, recent, replace};
pub use stored::{
    StoredResult, StoredResults, is_result, newest_result, read_result, stored_results,
};
pub use summary::{
    Counts, DEFINITIONS, ErrorGroup, FORMULAS, InFlight, Metrics, Share, Summary, Window,
};
pub use terms::terms;
pub(crate) use under_way::UnderWay;
pub use under_way::{Measuring, is_measured};
pub use unproved::Unproved;
pub use warmup::{WarmedInstance, Warmup, WarmupRequest};
