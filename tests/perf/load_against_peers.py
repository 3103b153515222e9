#!/usr/bin/python3 -B
"""How wrong load generators are, and what they cost: against a server that knows when it wrote.

    load_against_peers.py [--quick] [--only NAME ...] [--at-once 1 32 128 256] [--rate 400]

`stopwatch serve`, on a core of its own, answers by a timetable and writes down when it did. Each
generator asks it the same, on the other cores, in turn and back again (ABBA); those that take half a
minute to start are asked once. An error is a quantile of the generator's times less the same quantile
of the server's: TTFT from the request's last byte read to the first token's write, E2EL to the last
one's, TPOT between the two. CPU and memory are those of the whole run, with its start and, of several
processes, of the largest.

Who is not there is left out. `replica` is the release binary, or what REPLICA names; VLLM_BENCH,
VLLM, GUIDELLM and AIPERF name the others. TOKENIZER is a tokenizer of HF_HUB_CACHE for those that
need one.

What is started from Python counts at least Python's own 20 MB as its memory: Linux keeps the figure
over an exec.
"""

import argparse
import glob
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from common import machine, replica, stopwatch

FIRST_MS, GAP_MS, TOKENS = 100, 20, 64
MODEL = "stopwatch"
TOKENIZER = os.environ.get("TOKENIZER", "replica-test/tiny-llama")


class Load:
    """So many at a time, or so many a second."""

    def __init__(self, at_once, rate, requests):
        self.at_once, self.rate, self.requests = at_once, rate, requests

    def __str__(self):
        return f"{self.rate:g}/s" if self.rate else f"c={self.at_once}"


def loads(args):
    for at_once in args.at_once:
        yield Load(at_once, None, max(4, 2 * at_once))
    if args.rate:
        yield Load(None, args.rate, int(2 * args.rate))


# -- The generators: a command, and a reader of what it left ----------------------------------------
# A reader yields (id or None, TTFT, E2EL, tokens, gaps or None) of each request, in ms.


class Minimal:
    name, is_slow = "minimal", False
    keeps = "out"

    def found(self):
        return STOPWATCH

    def command(self, port, load, folder):
        how = ["rate", str(load.rate)] if load.rate else ["closed", str(load.at_once)]
        return [STOPWATCH, "ask", str(port), str(TOKENS), *how, str(load.requests)]

    def read(self, folder):
        for number, line in enumerate(open(os.path.join(folder, "out"))):
            sent, at = json.loads(line)
            gaps = [(b - a) / 1e6 for a, b in zip(at, at[1:])]
            yield f"minimal-{number}", (at[0] - sent) / 1e6, (at[-1] - sent) / 1e6, len(at), gaps


class Ours:
    name, is_slow = "replica", False

    def found(self):
        return replica()

    def command(self, port, load, folder):
        how = (["--rate", f"{load.rate:g}", "--requests", str(load.requests)] if load.rate else
               ["--concurrency", str(load.at_once), "--requests", str(load.requests)])
        return [replica(), "bench", "--url", f"http://127.0.0.1:{port}", "--model", MODEL, *how,
                "--max-tokens", str(TOKENS), "--repeats", "1", "--warmup", "1"]

    def read(self, folder):
        newest, = glob.glob(f"{folder}/**/*.requests.jsonl", recursive=True)
        for line in open(newest):
            record = json.loads(line)
            stamps = record["stamps"]
            since = [(at - stamps["sent"]) / 1e3 for at, _ in record["tokens"]]
            gaps = [b - a for a, b in zip(since, since[1:])]
            yield record["id"], since[0], since[-1], record["n_out"], gaps


class VllmRust:
    name, is_slow = "vllm-bench", False

    def found(self):
        return shutil.which(os.environ.get("VLLM_BENCH", "vllm-bench"))

    def command(self, port, load, folder):
        command = [self.found(), "--backend", "openai", "--base-url", f"http://127.0.0.1:{port}"]
        return command + self.options(load, folder)

    def options(self, load, folder):
        how = (["--request-rate", f"{load.rate:g}", "--burstiness", "1000000"] if load.rate else
               ["--max-concurrency", str(load.at_once)])
        return ["--model", MODEL, "--tokenizer", tokenizer_folder(), "--dataset-name", "random",
                "--random-input-len", "8", "--random-output-len", str(TOKENS), "--ignore-eos",
                "--num-prompts", str(load.requests), *how, "--save-result", "--save-detailed",
                "--result-dir", folder, "--result-filename", "vllm.json"]

    def read(self, folder):
        with open(os.path.join(folder, "vllm.json")) as file:
            found = json.load(file)
        for ttft, gaps, tokens in zip(found["ttfts"], found["itls"], found["output_lens"]):
            gaps = [gap * 1e3 for gap in gaps]
            yield None, ttft * 1e3, ttft * 1e3 + sum(gaps), tokens, gaps


class Vllm(VllmRust):
    name, is_slow = "vllm bench serve", False

    def found(self):
        return shutil.which(os.environ.get("VLLM", "vllm"))

    def command(self, port, load, folder):
        command = [self.found(), "bench", "serve", "--backend", "openai",
                   "--base-url", f"http://127.0.0.1:{port}", "--disable-tqdm"]
        return command + self.options(load, folder)


class GuideLlm:
    name, is_slow = "guidellm", True

    def found(self):
        return shutil.which(os.environ.get("GUIDELLM", "guidellm"))

    def command(self, port, load, folder):
        how = (f"kind=constant,rate={load.rate:g}" if load.rate else
               f"kind=concurrent,streams={load.at_once}")
        return [self.found(), "run", "--disable-console",
                "--backend", f"kind=openai_http,target=http://127.0.0.1:{port},model={MODEL}",
                "--profile", how, "--constraint", f"kind=max_requests,count={load.requests}",
                "--tokenizer", f"kind=huggingface_auto,model={tokenizer_folder()}",
                "--data", f"kind=synthetic_text,prompt_tokens=8,output_tokens={TOKENS}",
                "--output", f"kind=json,path={folder}/guidellm.json"]

    def read(self, folder):
        with open(os.path.join(folder, "guidellm.json")) as file:
            found = json.load(file)["benchmarks"][0]["requests"]["successful"]
        for request in found:
            at = request["info"]["timings"]
            since = [(at[key] - at["request_start"]) * 1e3
                     for key in ("first_token_iteration", "last_token_iteration")]
            yield None, *since, request["output_metrics"]["text_tokens"], None


class AiPerf:
    name, is_slow = "aiperf", True

    def found(self):
        return shutil.which(os.environ.get("AIPERF", "aiperf"))

    def command(self, port, load, folder):
        how = (["--request-rate", f"{load.rate:g}", "--arrival-pattern", "constant"] if load.rate else
               ["--concurrency", str(load.at_once)])
        return [self.found(), "profile", "-m", MODEL, "--tokenizer", TOKENIZER,
                "--endpoint-type", "completions", "--streaming", "-u", f"http://127.0.0.1:{port}",
                *how, "--request-count", str(load.requests), "--isl", "8", "--osl", str(TOKENS),
                "--use-server-token-count", "--extra-inputs", "ignore_eos:true", "--ui", "none",
                "--export-level", "records", "--artifact-dir", folder]

    def read(self, folder):
        for line in open(os.path.join(folder, "profile_export.jsonl")):
            found = json.loads(line)["metrics"]
            value = lambda key: found[key]["value"]
            yield (None, value("time_to_first_token"), value("request_latency"),
                   value("output_sequence_length"), None)


GENERATORS = [Minimal(), Ours(), VllmRust(), Vllm(), GuideLlm(), AiPerf()]


def tokenizer_folder():
    """The folder of the tokenizer, for those that take no name without the network."""
    cache = os.environ.get("HF_HUB_CACHE", os.path.expanduser("~/.cache/huggingface/hub"))
    found = glob.glob(f"{cache}/models--{TOKENIZER.replace('/', '--')}/snapshots/*")
    return found[0] if found else TOKENIZER


# -- The truth --------------------------------------------------------------------------------------


class Server:
    """The stopwatch, on the first core where there are several."""

    def __init__(self):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.child = subprocess.Popen(
            pinned([STOPWATCH, "serve", str(self.port), str(FIRST_MS), str(GAP_MS)], "0"),
            stdout=subprocess.PIPE)
        self.child.stdout.readline()

    def truth(self):
        """What it wrote since it was asked before, in the order of its reading."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/truth") as answer:
            return sorted(map(json.loads, answer.read().decode().splitlines()), key=lambda it: it[1])

    def end(self):
        self.child.terminate()
        self.child.wait()


def pinned(command, cores):
    several = os.cpu_count() > 1 and shutil.which("taskset")
    return ["taskset", "-c", cores, *command] if several else command


# -- One run ----------------------------------------------------------------------------------------


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def run(generator, server, load):
    """The errors of one run, and what it cost; why there are none where it failed."""
    folder = tempfile.mkdtemp(prefix="replica-perf-")
    environment = os.environ | {"HOME": folder, "HF_HUB_OFFLINE": "1"}
    server.truth()
    try:
        with open(os.path.join(folder, "out"), "w+") as out, open(os.path.join(folder, "err"), "w+") as err:
            began = time.monotonic()
            child = subprocess.Popen(pinned(generator.command(server.port, load, folder), REST),
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder,
                                     env=environment)
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            wall = time.monotonic() - began
        # 7 is a result that our own rules do not believe; its times stand.
        if child.returncode not in (0, 7):
            with open(os.path.join(folder, "err")) as err:
                return f"exit {child.returncode}: {err.read()[-400:]}"
        seen = list(generator.read(folder))
        errors = held_against(seen, server.truth())
    except (OSError, ValueError, KeyError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return errors | {"cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss / 1024, "wall": wall,
                     "lost": load.requests - len(seen)}


def held_against(seen, truth):
    """A quantile of what was seen less that of what was. What was asked before, to warm or to see who
    is there, is the truth's alone."""
    by_id = {identity: (read, written) for identity, read, written in truth}
    if seen[0][0] is not None:
        truth = [by_id[identity] for identity, *_ in seen]
    else:
        truth = [(read, written) for _, read, written in truth[-len(seen):]]
    written = {"ttft": [(at[0] - read) / 1e6 for read, at in truth],
               "e2el": [(at[-1] - read) / 1e6 for read, at in truth],
               "tpot": [(at[-1] - at[0]) / 1e6 / (len(at) - 1) for _, at in truth],
               "itl": [(b - a) / 1e6 for _, at in truth for a, b in zip(at, at[1:])]}
    read = {"ttft": [ttft for _, ttft, *_ in seen],
            "e2el": [e2el for _, _, e2el, *_ in seen],
            "tpot": [(e2el - ttft) / (tokens - 1) for _, ttft, e2el, tokens, _ in seen],
            "itl": [gap for *_, gaps in seen for gap in gaps or []]}
    errors = {"tokens": sum(it[3] for it in seen) - sum(len(at) for _, at in truth)}
    for key, values in read.items():
        for share in (0.5, 0.99):
            errors[f"{key} p{share * 100:.0f}"] = (
                quantile(values, share) - quantile(written[key], share) if values else None)
    return errors


# -- All of them ------------------------------------------------------------------------------------

COLUMNS = [("ttft p50", 2), ("ttft p99", 2), ("itl p50", 3), ("tpot p50", 3), ("tpot p99", 3),
           ("e2el p50", 2), ("e2el p99", 2), ("tokens", 0), ("lost", 0), ("cpu", 2), ("rss", 0),
           ("wall", 1)]


def cell(values, digits, signed):
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    shown = [f"{value:{'+' if signed else ''}.{digits}f}" for value in
             (statistics.median(values), min(values), max(values))]
    return shown[0] if shown[1] == shown[2] else f"{shown[0]} ({shown[1]} to {shown[2]})"


def rows(load, found):
    for name, runs in found.items():
        failed = [it for it in runs if isinstance(it, str)]
        runs = [it for it in runs if not isinstance(it, str)]
        signed = lambda key: " p" in key or key == "tokens"
        cells = [cell([it[key] for it in runs], digits, signed(key)) for key, digits in COLUMNS]
        yield [str(load), name, len(runs), *cells]
        for why in failed[:1]:
            print(f"{name}, {load}: {why}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the slow ones, once there and back")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these generators alone")
    parser.add_argument("--at-once", type=int, nargs="*", default=[1, 32, 128, 256])
    parser.add_argument("--rate", type=float, default=400, help="0 for none")
    parser.add_argument("--rounds", type=int, default=1, help="there and back so often")
    args = parser.parse_args()
    asked = [it for it in GENERATORS if not args.only or it.name in args.only]
    asked = [it for it in asked if not (args.quick and (it.is_slow or it.name.startswith("vllm bench")))]
    absent = [it.name for it in asked if not it.found()]
    there = [it for it in asked if it.found()]
    machine()
    if absent:
        print("absent: " + ", ".join(absent))
    found = []
    server = Server()
    try:
        for load in loads(args):
            runs = {it.name: [] for it in there}
            for number in range(2 * args.rounds):
                for it in there if number % 2 == 0 else reversed(there):
                    if not (it.is_slow and number):
                        runs[it.name].append(run(it, server, load))
            found += rows(load, runs)
    finally:
        server.end()
    units = {"cpu": "CPU s", "rss": "MB", "wall": "wall s"}
    head = ["load", "generator", "runs", *(units.get(key, key) for key, _ in COLUMNS)]
    print()
    for row in [head, ["---"] * len(head), *found]:
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    STOPWATCH = stopwatch()
    REST = f"1-{os.cpu_count() - 1}"
    main()
