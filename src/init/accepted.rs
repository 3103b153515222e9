//! A first manifest is one that every command takes: what none can have of what was asked for is left out of it.

use super::asked::Asked;
use super::draft::Draft;
use crate::manifest::{self, ManifestError};

/// Drafts a manifest without the arguments and variables that are refused in it. Each is told in a comment beside
/// those that have no place in a manifest, and in a remark.
pub fn accepted(mut asked: Option<Asked>, draft: impl Fn(Option<&Asked>) -> Draft) -> Draft {
    let mut remarks = Vec::new();
    loop {
        let drafted = draft(asked.as_ref());
        let refused = match (manifest::read(&drafted.text), &mut asked) {
            (Err(error), Some(asked)) => leave_out(asked, &drafted.text, &error),
            _ => Vec::new(),
        };
        // What is wrong with something else is told by who reads it.
        if refused.is_empty() {
            remarks.extend(drafted.remarks);
            return Draft {
                text: drafted.text,
                remarks,
            };
        }
        remarks.extend(refused);
    }
}

/// Takes out what was asked for in the lines that are wrong, and says so.
fn leave_out(asked: &mut Asked, text: &str, error: &ManifestError) -> Vec<String> {
    let mut said = Vec::new();
    for problem in error.problems() {
        let Some(place) = problem.place() else {
            continue;
        };
        let start = text[..place.start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let name = line.trim_start().split(':').next().unwrap_or_default();
        if asked.args.shift_remove(name).is_some() || asked.env.shift_remove(name).is_some() {
            asked.left.push(format!("`{name}`: {}", problem.title()));
            said.push(format!("`{name}` is not in it: {}", problem.title()));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manifest_refuses_is_left_out_and_told() {
        let asked =
            Asked::read("A=b vllm serve org/name --max-model-len 4k --seed 1 --unheard-of x")
                .unwrap();
        let draft = |asked: Option<&Asked>| {
            let args = &asked.unwrap().args;
            let args = args
                .iter()
                .map(|(name, given)| format!("      {name}: {}\n", given.written()));
            Draft {
                text: format!(
                    "topology: t\nnodes: {{here: local}}\nengines:\n  e:\n    simulate: {{profile: fast}}\n    args:\n{}",
                    args.collect::<String>()
                ),
                remarks: vec!["mine".to_owned()],
            }
        };
        let drafted = accepted(Some(asked), draft);
        assert!(
            drafted.text.ends_with("args:\n      seed: 1\n"),
            "{}",
            drafted.text
        );
        assert_eq!(drafted.remarks.len(), 3, "{:?}", drafted.remarks);
        assert!(
            drafted.remarks[0].starts_with("`max_model_len` is not in it: "),
            "{:?}",
            drafted.remarks
        );
        assert!(manifest::read(&drafted.text).is_ok());
    }
}
