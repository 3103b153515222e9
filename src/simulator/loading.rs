//! Loading a model: nothing but time and the log lines that a waiting `replica` reads.
//!
//! Texts and places are those of vLLM 0.13.0.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::log::Log;
use super::profile::{self, DEVICE_GIB, WEIGHTS_GIB};

/// What the engine's process is told over its socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) model: String,
    pub(super) time: Duration,
    pub(super) fails: bool,
    /// Why the connector cannot be, if it cannot.
    pub(super) connector_refusal: Option<String>,
    pub(super) enforce_eager: bool,
    pub(super) gpu_memory_utilization: f64,
    pub(super) max_model_len: usize,
    /// What the KV cache holds.
    pub(super) kv_tokens: usize,
    /// Whether the size of the KV cache was given, so that memory does not matter.
    pub(super) blocks_overridden: bool,
}

const SHARDS: u32 = 4;

/// Takes the planned time and says what happens; the error is the last line of a traceback.
pub(super) fn load(plan: &Plan, log: &Log) -> Result<(), String> {
    let config = format!(
        "model='{}', max_seq_len={}, tensor_parallel_size=1",
        plan.model, plan.max_model_len
    );
    log.info(
        "core.py:93",
        &format!("Initializing a V1 LLM engine (v0.13.0) with config: {config}, …"),
    );
    if plan.fails {
        // vLLM looks at the memory before anything else; the planned time passes all the same.
        std::thread::sleep(plan.time);
        return Err(free_memory_error(plan.gpu_memory_utilization));
    }
    if let Some(refusal) = &plan.connector_refusal {
        return Err(refusal.clone());
    }
    load_weights(plan, log);
    let initialising = Instant::now();
    if !plan.enforce_eager {
        compile(plan.time / 5, log);
    }
    check_kv_cache(plan, log)?;
    if !plan.enforce_eager {
        capture_graphs(plan.time / 5, log);
    }
    let took = initialising.elapsed().as_secs_f64();
    let what = "init engine (profile, create kv cache, warmup model)";
    log.info("core.py:259", &format!("{what} took {took:.2} seconds"));
    Ok(())
}

fn compile(time: Duration, log: &Log) {
    std::thread::sleep(time);
    let took = time.as_secs_f64();
    log.info(
        "backends.py:703",
        &format!("Dynamo bytecode transform time: {:.2} s", took / 4.0),
    );
    log.info(
        "monitor.py:34",
        &format!("torch.compile takes {took:.2} s in total"),
    );
}

fn load_weights(plan: &Plan, log: &Log) {
    log.info(
        "gpu_model_runner.py:3562",
        &format!("Starting to load model {}...", plan.model),
    );
    let started = Instant::now();
    let share = if plan.enforce_eager {
        plan.time
    } else {
        plan.time * 3 / 5
    };
    for shard in 0..=SHARDS {
        let elapsed = started.elapsed().as_secs();
        let percent = shard * 100 / SHARDS;
        log.stderr(&format!(
            "Loading safetensors checkpoint shards: {percent:3}% Completed | {shard}/{SHARDS} \
             [{:02}:{:02}<00:00,  1.00it/s]",
            elapsed / 60,
            elapsed % 60
        ));
        if shard < SHARDS {
            std::thread::sleep(share / SHARDS);
        }
    }
    let took = started.elapsed().as_secs_f64();
    log.info(
        "default_loader.py:308",
        &format!("Loading weights took {took:.2} seconds"),
    );
    let memory = format!("Model loading took {WEIGHTS_GIB:.4} GiB memory and {took:.6} seconds");
    log.info("gpu_model_runner.py:3659", &memory);
}

fn capture_graphs(time: Duration, log: &Log) {
    let bar = "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE)";
    log.stderr(&format!("{bar}:   0%|          | 0/51 [00:00<?, ?it/s]"));
    std::thread::sleep(time);
    log.stderr(&format!(
        "{bar}: 100%|██████████| 51/51 [00:{:02}<00:00]",
        time.as_secs().min(59)
    ));
    let took = time.as_secs_f64();
    log.info(
        "gpu_model_runner.py:4587",
        &format!("Graph capturing finished in {took:.0} secs, took 0.52 GiB"),
    );
}

fn check_kv_cache(plan: &Plan, log: &Log) -> Result<(), String> {
    let available = profile::kv_gib(plan.gpu_memory_utilization);
    log.info(
        "gpu_worker.py:375",
        &format!("Available KV cache memory: {available:.2} GiB"),
    );
    refuse_small_cache(plan)?;
    let size = format!("GPU KV cache size: {} tokens", grouped(plan.kv_tokens));
    log.info("kv_cache_utils.py:1291", &size);
    let concurrency = plan.kv_tokens as f64 / plan.max_model_len as f64;
    let length = grouped(plan.max_model_len);
    let most = format!("Maximum concurrency for {length} tokens per request: {concurrency:.2}x");
    log.info("kv_cache_utils.py:1296", &most);
    Ok(())
}

fn refuse_small_cache(plan: &Plan) -> Result<(), String> {
    let advice =
        "See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details.";
    if plan.kv_tokens == 0 {
        return Err(format!(
            "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the \
             engine. {advice}"
        ));
    }
    if plan.kv_tokens < plan.max_model_len && !plan.blocks_overridden {
        let gib = |tokens: usize| tokens as f64 / 8192.0;
        return Err(format!(
            "To serve at least one request with the models's max seq len ({}), ({:.2} GiB KV cache is needed, which \
             is larger than the available KV cache memory ({:.2} GiB). Based on the available memory, the estimated \
             maximum model length is {}. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when \
             initializing the engine. {advice}",
            plan.max_model_len,
            gib(plan.max_model_len),
            gib(plan.kv_tokens),
            plan.kv_tokens
        ));
    }
    Ok(())
}

/// What vLLM says when others hold the memory. The 21 GiB that are left are made up.
fn free_memory_error(utilization: f64) -> String {
    let free = 21.0;
    format!(
        "Free memory on device ({free:?}/{DEVICE_GIB:?} GiB) on startup is less than desired GPU memory utilization \
         ({utilization:?}, {:?} GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        (DEVICE_GIB * utilization * 100.0).round() / 100.0
    )
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kv_tokens: usize) -> Plan {
        Plan {
            model: "m".to_owned(),
            time: Duration::ZERO,
            fails: false,
            connector_refusal: None,
            enforce_eager: false,
            gpu_memory_utilization: 0.3,
            max_model_len: 131_072,
            kv_tokens,
            blocks_overridden: false,
        }
    }

    #[test]
    fn numbers_are_grouped_as_in_vllms_log() {
        assert_eq!(grouped(147_152), "147,152");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }

    #[test]
    fn too_little_memory_is_worded_as_vllm_does() {
        let error = load(
            &Plan {
                fails: true,
                ..plan(147_152)
            },
            &Log::silent(),
        )
        .expect_err("was told to fail");
        assert_eq!(
            error,
            "Free memory on device (21.0/119.7 GiB) on startup is less than desired GPU memory utilization (0.3, \
             35.91 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
        );
    }

    #[test]
    fn a_context_that_does_not_fit_is_refused() {
        assert!(load(&plan(147_152), &Log::silent()).is_ok());
        assert!(
            load(&plan(0), &Log::silent())
                .is_err_and(|error| error.starts_with("No available memory"))
        );
        let error = load(&plan(100_000), &Log::silent()).expect_err("100 000 tokens are too few");
        assert!(
            error.contains("(131072), (16.00 GiB KV cache is needed"),
            "{error}"
        );
    }
}
