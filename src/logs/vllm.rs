//! What vLLM's log tells: how far loading is, and why it died.
//!
//! The texts are those of 0.13.0; later versions kept nearly all of them.

use super::LogSign;
use super::causes::remedy;
use crate::plan::{Count, Failure, Part};

/// Reads one line: a part to show, or the cause, should the process die.
pub(super) fn read(line: &str) -> Option<LogSign> {
    cause(line).or_else(|| part(line).map(LogSign::Part))
}

/// What is counted while it is done.
const COUNTED: &[(&str, &str)] = &[
    ("checkpoint shards:", "weights"),
    ("Capturing CUDA graphs", "capturing graphs"),
];

const MILESTONES: &[(&str, &str)] = &[
    ("vLLM API server version", "starting"),
    ("Initializing a V1 LLM engine", "starting the engine"),
    ("Starting to load model", "loading weights"),
    ("Loading weights took", "weights loaded"),
    ("Dynamo bytecode transform time", "compiling"),
    ("Compiling a graph", "compiling"),
    ("torch.compile takes", "compiled"),
    ("GPU KV cache size", "memory for the KV cache set aside"),
    ("Warming up", "warming up"),
    ("Capturing CUDA graph", "capturing graphs"),
    ("Graph capturing finished", "graphs captured"),
    ("init engine", "engine started"),
    ("Starting vLLM API server", "opening the port"),
    ("Application startup complete", "answering"),
];

/// The part of its start that a line shows.
fn part(line: &str) -> Option<Part> {
    for (sign, what) in COUNTED {
        if let Some((_, rest)) = line.split_once(sign)
            && let Some(count) = count(rest)
        {
            return Some(Part {
                name: (*what).to_owned(),
                count: Some(count),
            });
        }
    }
    let (_, part) = MILESTONES.iter().find(|(sign, _)| line.contains(sign))?;
    Some(Part::from(*part))
}

/// Reads `  50% Completed | 2/4 [00:45<00:41, …]`, or the same behind a bar.
fn count(rest: &str) -> Option<Count> {
    let (_, counts) = rest.rsplit_once('|')?;
    let (done, after) = counts.trim().split_once('/')?;
    let of = after.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Count::Pieces {
        done: done.trim().parse().ok()?,
        of: of.parse().ok()?,
    })
}

/// Says only that something else went wrong, further up.
const NO_CAUSE: &str = "Engine core initialization failed";

fn cause(line: &str) -> Option<LogSign> {
    let message = strip_prefix(line);
    let hint = remedy(message);
    let is_cause = hint.is_some() || is_exception(message);
    is_cause.then(|| {
        LogSign::Cause(Failure {
            hint: hint.map(str::to_owned),
            ..Failure::new(message)
        })
    })
}

/// Whether a line ends a traceback: `package.SomeError: what happened`.
fn is_exception(line: &str) -> bool {
    // What pydantic found wrong stands below its exception.
    if line.starts_with("Value error, ") {
        return true;
    }
    let Some((name, what)) = line.split_once(": ") else {
        return false;
    };
    let is_name = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'));
    let is_error = name.ends_with("Error") || name.ends_with("Exception");
    is_name && is_error && !what.starts_with(NO_CAUSE)
}

/// What bears on how fast an engine is, as its log names it.
const NAMED: &[&str] = &[
    "backend",
    "kernel",
    "KV cache size",
    "Maximum concurrency",
    "Model loading took",
];

/// The message of a line that names a back end, a kernel, or what was loaded.
pub(super) fn named(line: &str) -> Option<&str> {
    let (_, message) = line.split_once("] ")?;
    let message = message.trim();
    NAMED
        .iter()
        .any(|sign| message.contains(sign))
        .then_some(message)
}

/// How much memory a model took when it was loaded, in GiB, where a message says so.
pub(super) fn loaded_gib(message: &str) -> Option<f64> {
    let (_, rest) = message.split_once("Model loading took ")?;
    let (gib, _) = rest.split_once(" GiB")?;
    gib.parse().ok().filter(|gib: &f64| gib.is_finite())
}

/// Removes `(EngineCore_DP0 pid=1) ERROR 11-23 02:00:00 [core.py:1] ` from the front of a line.
fn strip_prefix(line: &str) -> &str {
    let line = match line
        .strip_prefix('(')
        .and_then(|rest| rest.split_once(") "))
    {
        Some((_, rest)) => rest,
        None => line,
    };
    match (line.starts_with("ERROR "), line.split_once("] ")) {
        (true, Some((_, rest))) => rest.trim(),
        _ => line.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_is_made_of_is_named() {
        let line = "(EngineCore_DP0 pid=7) INFO 11-27 00:32:53 [gpu_model_runner.py:3659] Model \
                    loading took 14.9890 GiB memory and 0.2 seconds";
        let message = "Model loading took 14.9890 GiB memory and 0.2 seconds";
        assert_eq!(named(line), Some(message));
        assert_eq!(loaded_gib(message), Some(14.989));
        assert_eq!(loaded_gib("Model loading took a while"), None);
        let file = "INFO 11-27 00:32:53 [backends.py:703] Dynamo bytecode transform time: 0.02 s";
        assert_eq!(named(file), None);
    }

    #[test]
    fn milestones_become_parts() {
        let part = |line| match read(line) {
            Some(LogSign::Part(part)) => (part.name, part.count),
            other => panic!("{other:?}"),
        };
        let counted = |name: &str, done, of| (name.to_owned(), Some(Count::Pieces { done, of }));
        assert_eq!(
            part(
                "(EngineCore_DP0 pid=9) Loading safetensors checkpoint shards:  75% Completed | 3/4 [01:17<00:29, 29.1s/it]"
            ),
            counted("weights", 3, 4)
        );
        assert_eq!(
            part("INFO Capturing CUDA graphs (decode, FULL): 3%"),
            ("capturing graphs".to_owned(), None)
        );
        assert_eq!(
            part(
                "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  18%|█▊        | 12/67 [00:01<00:05, 9.87it/s]"
            ),
            counted("capturing graphs", 12, 67)
        );
        assert_eq!(read("INFO 11-23 something else"), None);
    }

    /// The cause that a line names, and what to do.
    fn caused(line: &str) -> (String, String) {
        match read(line) {
            Some(LogSign::Cause(it)) => (it.message, it.hint.unwrap_or_default()),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_line_that_matters_is_the_cause() {
        let line = "(EngineCore_DP0 pid=7) ERROR 11-23 02:00:00 [core.py:843] ValueError: Free memory on device (21.0/119.7 GiB) on startup is less than desired GPU memory utilization (0.3, 35.91 GiB).";
        let (message, hint) = caused(line);
        assert!(
            message.starts_with("ValueError: Free memory on device"),
            "{message}"
        );
        assert!(hint.contains("gpu_memory_utilization"));
    }

    #[test]
    fn an_exception_is_a_cause_and_a_warning_is_none() {
        let (message, hint) = caused("(EngineCore_DP0 pid=7) KeyError: 'a'");
        assert_eq!((message.as_str(), hint.as_str()), ("KeyError: 'a'", ""));
        for line in [
            "(APIServer pid=1) WARNING 11-25 13:20:59 [system_utils.py:262] Found ulimit of 20000 and failed to automatically increase. This can cause fd limit errors like `OSError: [Errno 24] Too many open files`.",
            "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            "    raise HFValidationError(",
            "Traceback (most recent call last):",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
