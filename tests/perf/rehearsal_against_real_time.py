#!/usr/bin/python3 -B
"""What `plan --predict` says of simulated servers, beside what is measured of the same over HTTP.

    rehearsal_against_real_time.py [--profile gb10-llama-3.1-8b]

The rehearsal and the servers have the same physics, so that what differs is everything else: processes,
sockets, the proxy, the client and the clock. Two replicas, and two that share each request.
"""

import argparse
import json
import os
import socket
import subprocess
import tempfile

from common import machine, replica, table

LOADS = {
    "alone": ("{input: 512, output: 24}", "{sequential: 3}"),
    "batch": ("{input: 256, output: 32}", "{batch: 8}"),
    "closed": ("{input: 2048, output: 32}", "{concurrency: 8, requests: 32}"),
    "open": ("{input: {uniform: [64, 900]}, output: {uniform: [8, 64]}}", "{rate: 3/s, requests: 60}"),
}
METRICS = [("tok/s", "output_tps"), ("TTFT p50 ms", "ttft_p50_ms"), ("TPOT p50 ms", "tpot_p50_ms")]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


def manifest(profile, is_split):
    a, b, proxy, *channels = free_ports(5)
    kv, roles = ("kv: {connector: nixl}\n", (", role: prefill", ", role: decode")) if is_split else ("", ("", ""))
    instances = "".join(
        f"  {name}: {{node: here, port: {port}, engine: e, model: m{role}, "
        f"env: {{VLLM_NIXL_SIDE_CHANNEL_PORT: {channel}}}}}\n"
        for name, port, role, channel in zip("ab", (a, b), roles, channels))
    benchmarks = "".join(
        f"  {name}: {{prompts: {{synthetic: {prompts}}}, load: {load}, repeats: 1}}\n"
        for name, (prompts, load) in LOADS.items())
    return (f"topology: rehearsed-{os.getpid()}\nnodes: {{here: {{ssh: local}}}}\n"
            f"engines: {{e: {{simulate: {{profile: {profile}}}}}}}\n{kv}instances:\n{instances}"
            f"proxy: {{node: here, port: {proxy}}}\nbenchmarks:\n{benchmarks}")


def run(folder, *words):
    done = subprocess.run([replica(), *words, "--json"], cwd=folder, capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(f"{words}: {done.stderr}")
    return json.loads(done.stdout)


def measured(folder):
    """What was measured last of each benchmark."""
    try:
        run(folder, "apply", "--auto-approve")
        found = run(folder, "bench", "list")["results"]
    finally:
        run(folder, "destroy", "--auto-approve")
    return {it["benchmark"]: it["loads"][0] for it in found if it["newest"]}


def compared(profile, is_split):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "topology.yaml"), "w") as file:
            file.write(manifest(profile, is_split))
        predicted = {it["benchmark"]: it["points"][0] for it in run(folder, "plan", "--predict")["predicted"]}
        real = measured(folder)
    arm = "split" if is_split else "replicas"
    for name in LOADS:
        for title, key in METRICS:
            said, was = predicted[name][key]["likely"], real[name][key]
            yield [arm, name, title, f"{said:.1f}", f"{was:.1f}", f"{(said / was - 1) * 100:+.1f} %"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="gb10-llama-3.1-8b")
    profile = parser.parse_args().profile
    machine()
    rows = [row for is_split in (False, True) for row in compared(profile, is_split)]
    table(["arm", "load", "metric", "rehearsed", "in real time", "difference"], rows)


main()
