#!/usr/bin/python3 -B
"""How wrong the load generator's times are: against a server that writes down when it wrote.

    load_error.py [--runs 3] [--tokens 64] [--batch 1 16 128]

`replica bench` measures scripted_server.py. For each request its TTFT is held against the time from
the server's reading the request to its writing the first token, and its TPOT against the server's own
writes. The server is Python and its own delays between reading and stamping count against us: the
figures are upper bounds, and grow with the batch on a machine of few cores.
"""

import argparse
import glob
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import tempfile

from common import HERE, machine, must, replica, table


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 128])
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="replica-perf-")
    topology = os.path.join(folder, "topology.yaml")
    log = os.path.join(folder, "written.jsonl")
    programs = os.path.join(folder, "programs")
    os.makedirs(programs)
    shutil.copy(os.path.join(HERE, "scripted_server.py"),
                os.path.join(programs, f"replica-{platform.machine()}"))
    os.environ["HOME"] = folder
    loads = "".join(
        f"  batch{batch}: {{prompts: {{inline: [Tell.]}}, load: {{batch: {batch}}}, "
        f"max_tokens: {args.tokens}}}\n" for batch in args.batch)
    with open(topology, "w") as file:
        file.write(
            f"topology: perf-load-{os.getpid()}\nnodes:\n  here: {{ssh: local}}\n"
            f"engines:\n  demo: {{simulate: {{profile: fast}}, env: {{SCRIPTED_LOG: {log}}}}}\n"
            f"instances:\n  a: {{node: here, port: {free_port()}, engine: demo, model: demo}}\n"
            "benchmarks:\n" + loads)

    def call(command, *options):
        return [replica(), command, topology, *options, "--programs", programs]

    try:
        must(call("apply", "--auto-approve", "--no-bench"))
        machine()
        print(f"{args.runs} runs of each batch, {args.tokens} tokens\n")
        records = {batch: [] for batch in args.batch}
        for _ in range(args.runs):
            for batch in args.batch:
                done = subprocess.run(call("bench", f"batch{batch}"), capture_output=True, text=True)
                if done.returncode not in (0, 7):
                    raise RuntimeError(done.stderr)
                newest = max(glob.glob(f"{folder}/results/**/batch{batch}/*.requests.jsonl",
                                       recursive=True), key=os.path.getmtime)
                with open(newest) as file:
                    records[batch] += map(json.loads, file)
        with open(log) as file:
            written = {identity: (at, times) for identity, at, times in map(json.loads, file)}
    finally:
        subprocess.run(call("destroy", "--auto-approve"), capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
    rows = []
    for batch, found in records.items():
        ttft, tpot, lost = [], [], 0
        for record in found:
            at, times = written.get(record["id"], (None, None))
            stamps = record["stamps"]
            if at is None or record["status"] != "ok":
                lost += 1
                continue
            ttft.append(stamps["first"] - stamps["sent"] - (times[0] - at) / 1e3)
            if len(times) > 1:
                true = (times[-1] - times[0]) / 1e3
                tpot.append((stamps["last"] - stamps["first"] - true) / (len(times) - 1))
        row = [batch, len(found), lost]
        for values, digits in ((ttft, 0), (tpot, 2)):
            row += [f"{statistics.median(values):+.{digits}f}" if values else "",
                    f"{quantile([abs(v) for v in values], 0.99):.{digits}f}" if values else ""]
        rows.append(row)
    table(["batch", "requests", "lost", "TTFT error us", "p99 |.|", "TPOT error us", "p99 |.|"], rows)


if __name__ == "__main__":
    main()
