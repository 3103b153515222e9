"""Asks a Prometheus what the panels of the dashboard ask: ask.py PROMETHEUS REPLICA."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

# What has nothing to show where nothing fails, and nothing was preempted before anybody asked.
QUIET = {"replica_proxy_attempt_failures_total", "replica_proxy_ejections_total", "replica_proxy_retries_total"}

MANIFEST = """\
topology: metrics-{pid}
nodes: {{here: {{ssh: local}}}}
engines: {{demo: {{simulate: {{profile: fast}}, args: {{sim_load_seconds: 0}}}}}}
kv: {{connector: nixl, buffer: cpu, port: {ports[3]}}}
instances:
  a: {{node: here, port: {ports[0]}, engine: demo, model: demo, role: prefill}}
  b: {{node: here, port: {ports[1]}, engine: demo, model: demo, role: decode, env: {{VLLM_NIXL_SIDE_CHANNEL_PORT: {ports[4]}}}}}
proxy: {{node: here, port: {ports[2]}}}
benchmarks:
  load:
    prompts: {{synthetic: {{input: 200, output: 40}}}}
    load: {{concurrency: 8, duration: 8s}}
    repeats: 1
"""

CONFIG = """\
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: replica
    honor_labels: true
    static_configs:
      - targets: ["127.0.0.1:{ports[2]}"]
      - targets: ["127.0.0.1:{ports[0]}"]
        labels: {{instance: a}}
      - targets: ["127.0.0.1:{ports[1]}"]
        labels: {{instance: b}}
"""


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def asked(port, question):
    """What Prometheus finds, or why it finds nothing."""
    query = urllib.parse.urlencode({"query": question})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def until_ready(port):
    end = time.monotonic() + 60
    while True:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5).read()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def questions(replica):
    said = subprocess.run([replica, "dashboard"], check=True, capture_output=True, text=True).stdout
    panels = json.loads(said)["panels"]
    return [(panel["title"], target["expr"].replace("$__rate_interval", "20s"))
            for panel in panels for target in panel.get("targets", [])]


def look(port, replica):
    """The panels that show nothing though there is something to show, and how many questions there were."""
    silent, all_questions = [], questions(replica)
    for title, question in all_questions:
        try:
            found = asked(port, question)
        except urllib.error.HTTPError as error:
            silent.append(f"{title}: {question}: {error.read().decode()}")
            continue
        if not found and not any(name in question for name in QUIET):
            silent.append(f"{title}: {question}: nothing was found")
    return silent, len(all_questions)


def main():
    prometheus, replica = sys.argv[1], os.path.abspath(sys.argv[2])
    folder = tempfile.mkdtemp(prefix="replica-metrics-")
    *ports, port = free_ports(6)
    for name, text in (("topology.yaml", MANIFEST), ("prometheus.yml", CONFIG)):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text.format(ports=ports, pid=os.getpid()))
    environment = os.environ | {"HOME": folder}
    asks = subprocess.Popen(
        [prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])

    def run(*words):
        done = subprocess.run([replica, *words], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode not in (0, 7):
            sys.exit(f"replica {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")

    try:
        until_ready(port)
        run("apply", "-y", "--no-bench")
        run("bench")
        silent, count = look(port, replica)
    finally:
        subprocess.run([replica, "destroy", "-y"], cwd=folder, env=environment, capture_output=True)
        asks.terminate()
        asks.wait()
        shutil.rmtree(folder, ignore_errors=True)
    if silent:
        sys.exit("\n".join(["these panels show nothing:", *silent]))
    print(f"{count} questions, each answered by Prometheus")


if __name__ == "__main__":
    main()
