//! What vLLM's log tells: how far loading is, and why it died.
//!
//! The texts are those of 0.13.0; later versions kept nearly all of them.

use super::LogSign;
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

/// What vLLM and what it stands on say when they cannot go on, in lower case, each with what to do.
const CAUSES: &[(&str, &str)] = &[
    (
        "is less than desired gpu memory utilization",
        "free memory on the node, or lower args.gpu_memory_utilization",
    ),
    (
        "no available memory for the cache blocks",
        "the model leaves nothing of its share: raise args.gpu_memory_utilization",
    ),
    (
        "is larger than the available kv cache memory",
        "lower args.max_model_len, or raise args.gpu_memory_utilization",
    ),
    (
        "is larger than the maximum number of tokens",
        "lower args.max_model_len",
    ),
    (
        "is greater than the derived max_model_len",
        "lower args.max_model_len to what the model was made for",
    ),
    (
        "out of memory",
        "lower args.gpu_memory_utilization or args.max_model_len",
    ),
    (
        "nv_err_no_memory",
        "free memory on the node: the driver found none",
    ),
    (
        "unrecognized arguments",
        "this vLLM version does not know the argument; see `vllm serve --help=all` on the node",
    ),
    (
        "error: argument --",
        "vLLM does not take the value; see `vllm serve --help=all` on the node",
    ),
    (
        "error: ambiguous option",
        "write the argument's whole name; see `vllm serve --help=all` on the node",
    ),
    (
        "libcudart.so",
        "the vLLM build and the node's CUDA differ; see engines.vllm and its build variant",
    ),
    (
        "libcuda.so",
        "the node has no NVIDIA driver, or none that programs can find",
    ),
    (
        "cuda driver version is insufficient",
        "the driver of the node is older than the CUDA of this build: update it",
    ),
    (
        "failed to infer device type",
        "vLLM found no GPU; see `nvidia-smi` on the node, and whether the build is one for CPUs",
    ),
    (
        "address already in use",
        "another process holds the port; `replica plan` names it",
    ),
    (
        "cannot assign requested address",
        "the node has no such address; see `host` and the node's `addresses`",
    ),
    (
        "gatedrepo",
        "accept the model's licence and fetch it with a token",
    ),
    (
        "hfvalidationerror:",
        "the model is not where it should be; `replica plan` looks for it anew",
    ),
    (
        "localentrynotfounderror:",
        "the model is not whole in the cache of the node; `replica plan` looks for it anew",
    ),
    (
        "cannot find any model weights",
        "the model has no weights in its folder; `replica plan` looks for them anew",
    ),
    (
        "trust_remote_code=true",
        "the model brings code of its own: set args.trust_remote_code: true if you trust it",
    ),
    (
        "ptxaserror",
        "set env TRITON_PTXAS_PATH: /usr/local/cuda/bin/ptxas",
    ),
    (
        "ptxas fatal",
        "set env TRITON_PTXAS_PATH: /usr/local/cuda/bin/ptxas",
    ),
    (
        "failed to find c compiler",
        "install gcc on the node, or name a compiler by env CC",
    ),
    (
        "no working c++ compiler found",
        "install g++ on the node, or name a compiler by env CXX",
    ),
    (
        "python.h: no such file",
        "install the headers of the node's Python, such as python3-dev",
    ),
    ("no space left on device", "free some of the node's disk"),
];

/// Says only that something else went wrong, further up.
const NO_CAUSE: &str = "Engine core initialization failed";

fn cause(line: &str) -> Option<LogSign> {
    let low = line.to_lowercase();
    let known = CAUSES.iter().find(|(sign, _)| low.contains(sign));
    let message = strip_prefix(line);
    let is_cause = known.is_some() || is_exception(message);
    is_cause.then(|| {
        LogSign::Cause(Failure {
            hint: known.map(|(_, hint)| (*hint).to_owned()),
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

    /// Lines that vLLM 0.13.0 ended with, as it was made to fail.
    #[test]
    fn what_was_seen_to_fail_is_told_with_what_to_do() {
        for (line, do_this) in [
            (
                "vllm: error: unrecognized arguments: --gpu-memory-utilisation 0.3",
                "does not know",
            ),
            (
                "vllm serve: error: argument --dtype: invalid choice: 'fp12' (choose from 'auto')",
                "does not take the value",
            ),
            (
                "(APIServer pid=1) OSError: [Errno 98] Address already in use",
                "holds the port",
            ),
            (
                "(APIServer pid=1) OSError: [Errno 99] Cannot assign requested address",
                "`addresses`",
            ),
            (
                "(APIServer pid=1) huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/nowhere/model'. Use `repo_type` argument if needed.",
                "looks for it anew",
            ),
            (
                "(APIServer pid=1)   Value error, User-specified max_model_len (999999) is greater than the derived max_model_len (max_position_embeddings=2048.0 or model_max_length=None in model's config.json).",
                "was made for",
            ),
            (
                "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
                "build variant",
            ),
        ] {
            let (message, hint) = caused(line);
            assert!(hint.contains(do_this), "{message}: {hint}");
            assert!(!message.starts_with('('), "{message}");
        }
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
