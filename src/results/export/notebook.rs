//! The notebook's file: of the first result with one request alone, and of the first with a batch.

use serde_json::Value;

use super::believed;
use crate::plan::Failure;
use crate::results::notebook::Notebook;
use crate::results::stored::StoredResult;

/// These results with the keys of the notebook's `replicated_metrics.json`.
///
/// # Errors
///
/// When none of them has a place there, one cannot be believed, or they are not of the same servers.
pub fn notebook(results: &[StoredResult]) -> Result<Value, Failure> {
    let fitting = results.iter().filter(|it| Notebook::has_place(&it.result));
    let fitting: Vec<_> = fitting
        .map(|it| believed(it, "the notebook's file"))
        .collect();
    let fitting = fitting.into_iter().collect::<Result<Vec<_>, _>>()?;
    let Some((first, others)) = fitting.split_first() else {
        return Err(
            Failure::new("the notebook's file has no place for these loads").hinted(
                "it holds one request alone and a batch: `{sequential: 1}` and `{batch: 8}`",
            ),
        );
    };
    if let Some(other) = others.iter().find(|it| it.job.targets != first.job.targets) {
        let (one, other) = (&first.job.name, &other.job.name);
        return Err(Failure::new(format!(
            "`{one}` and `{other}` did not measure the same servers, and the notebook's file is of one set-up"
        ))
        .hinted("name one of them, or measure both again"));
    }
    let notebook = Notebook::of(first, |wanted| {
        others.iter().find(|it| wanted(it)).map(|it| (*it).clone())
    });
    Ok(serde_json::to_value(notebook).expect("numbers and texts are JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::known;
    use crate::verdict::scene::notebook_run;

    fn stored(name: &str, load: crate::shape::Shape) -> StoredResult {
        let mut result = notebook_run();
        result.valid = true;
        result.job.name = name.to_owned();
        result.points[0].load = load;
        StoredResult {
            path: format!("{name}.json").into(),
            result,
        }
    }

    #[test]
    fn both_halves_come_from_results_of_the_same_servers() {
        let (single, batch) = (
            stored("single", known::sequential(1)),
            stored("batch", known::batch(8)),
        );
        let written = notebook(&[batch.clone(), single.clone()]).unwrap();
        assert_eq!(written["batch_processing"]["batch_size"], 8);
        assert_eq!(written["single_request"]["tokens"], 100);
        let alone = notebook(std::slice::from_ref(&single)).unwrap();
        assert!(alone["batch_processing"].is_null());
        let mut other = batch.clone();
        other.result.job.targets = "others".to_owned();
        let why = notebook(&[single, other]).unwrap_err().to_string();
        insta::assert_snapshot!(why, @"`single` and `batch` did not measure the same servers, and the notebook's file is of one set-up");
    }

    #[test]
    fn what_has_no_place_or_cannot_be_believed_is_refused() {
        let closed = stored("closed", known::concurrency(4, 20));
        let why = notebook(&[closed]).unwrap_err().to_string();
        insta::assert_snapshot!(why, @"the notebook's file has no place for these loads");
        let mut invalid = stored("batch", known::batch(8));
        invalid.result.valid = false;
        let why = notebook(&[invalid]).unwrap_err().to_string();
        insta::assert_snapshot!(why, @"the result of `batch` cannot be believed, and the notebook's file has no place to say so: batch.json");
    }
}
