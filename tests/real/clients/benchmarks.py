#!/usr/bin/env python3
"""Programs that measure servers: `vllm bench serve`, AIPerf, GuideLLM.

    benchmarks.py URL MODEL CLIENTS

What they measure differs each time; whether they can, and how many requests they had answered, does not.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from facts import note_all

URL, MODEL, CLIENTS = sys.argv[1:]
REQUESTS = 12


def run(command):
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-300:])
    return done.stdout


def vllm_bench(folder, backend, endpoint):
    vllm = os.path.join(os.environ["REPLICA_REAL_VLLM"], "venv/bin/vllm")
    run([vllm, "bench", "serve", "--backend", backend, "--base-url", URL, "--endpoint", endpoint,
         "--model", MODEL, "--served-model-name", "tiny", "--dataset-name", "random",
         "--random-input-len", "64", "--random-output-len", "16", "--num-prompts", str(REQUESTS),
         "--max-concurrency", "4", "--ignore-eos", "--seed", "1", "--disable-tqdm", "--save-result",
         "--result-dir", folder, "--result-filename", "result.json"])
    result = json.loads(pathlib.Path(folder, "result.json").read_text())
    return {name: result[name] for name in ("completed", "failed", "total_input_tokens", "total_output_tokens")}


def aiperf(folder, *words):
    run([os.path.join(CLIENTS, "aiperf/bin/aiperf"), "profile", "--url", URL, "--model", "tiny",
         "--tokenizer", "replica-test/tiny-llama", "--endpoint-type", "chat", *words,
         "--request-count", str(REQUESTS), "--concurrency", "4", "--isl", "32", "--osl", "16",
         "--extra-inputs", "ignore_eos:true", "--random-seed", "1", "--ui", "none", "--artifact-dir", folder])
    [exported] = pathlib.Path(folder).rglob("profile_export_aiperf.json")
    result = json.loads(exported.read_text())
    errors = result.get("error_request_count") or {}
    return {"requests": result["request_count"]["avg"], "errors": errors.get("avg", 0)}


def guidellm(folder):
    run([os.path.join(CLIENTS, "guidellm/bin/guidellm"), "run",
         "--backend", f"kind=openai_http,target={URL},model=tiny",
         "--tokenizer", f"kind=huggingface_auto,model={MODEL}",
         "--data", "kind=synthetic_text,prompt_tokens=32,output_tokens=16",
         "--profile", "kind=concurrent,streams=4", "--constraint", f"kind=max_requests,count={REQUESTS}",
         "--output", f"kind=json,path={folder}/result.json", "--disable-console"])
    [measured] = json.loads(pathlib.Path(folder, "result.json").read_text())["benchmarks"]
    totals = measured["metrics"]["request_totals"]
    return {name: totals[name] for name in ("successful", "errored", "incomplete")}


def within(item, *words):
    def noted():
        with tempfile.TemporaryDirectory() as folder:
            return item(folder, *words)

    return noted


items = {
    "vllm bench serve, completions": within(vllm_bench, "openai", "/v1/completions"),
    "vllm bench serve, chat": within(vllm_bench, "openai-chat", "/v1/chat/completions"),
}
if os.path.exists(os.path.join(CLIENTS, "aiperf/bin/aiperf")):
    items["AIPerf"] = within(aiperf)
    items["AIPerf, streamed"] = within(aiperf, "--streaming")
if os.path.exists(os.path.join(CLIENTS, "guidellm/bin/guidellm")):
    items["GuideLLM"] = within(guidellm)
note_all(items)
