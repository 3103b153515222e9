//! Results as other tools read them: a row a load, vLLM's keys, the notebook's.
//!
//! What these forms have no place for stays in the result itself: who served what, and why it cannot
//! be believed. So a form that cannot say that a result is invalid is refused to one that is.

mod csv;
mod notebook;
mod vllm;

pub use csv::csv;
pub use notebook::notebook;
pub use vllm::vllm;

use super::result::{BenchResult, is_simulated};
use super::stored::StoredResult;
use crate::plan::Failure;

/// Refuses results that cannot be believed.
fn believed<'a>(stored: &'a StoredResult, form: &str) -> Result<&'a BenchResult, Failure> {
    if stored.result.valid {
        return Ok(&stored.result);
    }
    let name = &stored.result.job.name;
    Err(Failure::new(format!(
        "the result of `{name}` cannot be believed, and {form} has no place to say so: {}",
        stored.path.display()
    ))
    .hinted("`--format json` and `--format csv` say so; measure again for one that is valid"))
}

fn simulated(result: &BenchResult) -> bool {
    is_simulated(&result.topology)
}
