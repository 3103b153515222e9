//! What vLLM's log tells: how far loading is, and why it died.
//!
//! The texts are those of 0.13.0; later versions kept nearly all of them.

use crate::node::LogSign;

/// Reads one line: a phase to show, or the cause, should the process die.
pub(super) fn read(line: &str) -> Option<LogSign> {
    cause(line).or_else(|| phase(line).map(LogSign::Phase))
}

fn phase(line: &str) -> Option<String> {
    if let Some((_, rest)) = line.split_once("checkpoint shards:") {
        return shards(rest).map(|(done, all)| format!("weights {done}/{all}"));
    }
    let signs = [
        ("vLLM API server version", "starting"),
        ("Starting to load model", "loading weights"),
        ("Loading weights took", "weights loaded"),
        ("torch.compile takes", "compiled"),
        ("GPU KV cache size", "memory for the KV cache set aside"),
        ("Capturing CUDA graph", "capturing graphs"),
        ("init engine", "warming up"),
        ("Starting vLLM API server", "opening the port"),
        ("Application startup complete", "answering"),
    ];
    signs
        .iter()
        .find(|(sign, _)| line.contains(sign))
        .map(|(_, phase)| (*phase).to_owned())
}

/// Reads `  50% Completed | 2/4 [00:45<00:41, …]`.
fn shards(rest: &str) -> Option<(u32, u32)> {
    let (_, counts) = rest.split_once('|')?;
    let (done, after) = counts.trim().split_once('/')?;
    let all = after.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((done.trim().parse().ok()?, all.parse().ok()?))
}

fn cause(line: &str) -> Option<LogSign> {
    let signs: [(&str, Option<&str>); 10] = [
        (
            "is less than desired GPU memory utilization",
            Some("free memory on the node, or lower args.gpu_memory_utilization"),
        ),
        (
            "out of memory",
            Some("lower args.gpu_memory_utilization or args.max_model_len"),
        ),
        (
            "NV_ERR_NO_MEMORY",
            Some("free memory on the node: the driver found none"),
        ),
        (
            "unrecognized arguments",
            Some(
                "this vLLM version does not know the argument; see `vllm serve --help` on the node",
            ),
        ),
        (
            "libcudart.so",
            Some(
                "the vLLM build and the node's CUDA differ; see engines.vllm and its build variant",
            ),
        ),
        (
            "Address already in use",
            Some("another process holds the port; `replica plan` names it"),
        ),
        (
            "is larger than the maximum number of tokens",
            Some("lower args.max_model_len"),
        ),
        (
            "GatedRepo",
            Some("accept the model's licence and fetch it with a token"),
        ),
        (
            "PTXASError",
            Some("set env TRITON_PTXAS_PATH: /usr/local/cuda/bin/ptxas"),
        ),
        ("ModuleNotFoundError", None),
    ];
    let (_, hint) = signs.iter().find(|(sign, _)| line.contains(sign))?;
    Some(LogSign::Cause {
        message: strip_prefix(line).to_owned(),
        hint: hint.map(str::to_owned),
    })
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
    fn milestones_become_phases() {
        let phase = |line| match read(line) {
            Some(LogSign::Phase(phase)) => phase,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            phase(
                "(EngineCore_DP0 pid=9) Loading safetensors checkpoint shards:  75% Completed | 3/4 [01:17<00:29, 29.1s/it]"
            ),
            "weights 3/4"
        );
        assert_eq!(
            phase("INFO Capturing CUDA graphs (decode, FULL): 3%"),
            "capturing graphs"
        );
        assert_eq!(read("INFO 11-23 something else"), None);
    }

    #[test]
    fn the_line_that_matters_is_the_cause() {
        let line = "(EngineCore_DP0 pid=7) ERROR 11-23 02:00:00 [core.py:843] ValueError: Free memory on device (21.0/119.7 GiB) on startup is less than desired GPU memory utilization (0.3, 35.91 GiB).";
        let Some(LogSign::Cause { message, hint }) = read(line) else {
            panic!("no cause");
        };
        assert!(
            message.starts_with("ValueError: Free memory on device"),
            "{message}"
        );
        assert!(hint.unwrap().contains("gpu_memory_utilization"));
    }
}
