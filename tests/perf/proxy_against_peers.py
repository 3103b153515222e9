#!/usr/bin/python3 -B
"""The proxy against its peers: nginx, HAProxy, sglang-router, vllm-router and smg.

    proxy_against_peers.py [--repeats 5] [--quick] [--only NAME...] [--json FILE]

All are asked in turn, in another order each time, over loopback and in front of the same two backends:
`stopwatch mock`, one thread for both. Nothing is pinned: backends, proxy and client share the cores.
nginx and HAProxy are those of the system. The routers come from PyPI, each with a virtual environment
below target/peers; one that cannot be had there is left out, with the reason.

CPU is that of all processes and threads of a proxy, the kernel's part included.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import peers
from common import machine, stopwatch
from processes import allocations, cpu, memory, system_calls, tree

GAP_US = 5000
# Of whom each costs a file here, and ours counts with two.
CLIENTS = 10_000


# -- What is measured ------------------------------------------------------------------------------


class Run:
    """One proxy while it runs, or none: then the backends themselves are measured."""

    def __init__(self, name, process, ports, world):
        self.name, self.process, self.ports = name, process, ports
        self.mocks, self.seconds, self.clients = world.mocks, world.seconds, world.clients
        self.failed = 0

    def drive(self, kind, *how):
        """What the clients saw, with the CPU that it cost a request and an event, in microseconds."""
        before = cpu(self.process.pid)
        seen = drive(self.ports, kind, *how)
        spent = (cpu(self.process.pid) - before) / 1e3
        self.failed += seen["failed"]
        return seen | {"cpu": spent / max(seen["requests"], 1), "event": spent / max(seen["events"], 1)}

    def closed(self, clients, kind="small", seconds=None):
        return self.drive(kind, "closed", str(clients), str(seconds or self.seconds))


def drive(ports, kind, *how):
    command = [STOPWATCH, "drive", ",".join(map(str, ports)), kind, *how]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[:300])
    return json.loads(done.stdout)


def measure(run, rounds):
    """The figures of one proxy in one repeat. What fails says so, and the rest stands."""
    figures = {}
    for one in rounds:
        try:
            figures |= one(run)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            print(f"{run.name}, {one.__name__.replace('_', ' ')}: {error}", file=sys.stderr)
    return figures | {"failed": run.failed}


def warm_up(run):
    run.closed(16, seconds=0.5)
    return {}


def many_clients(run):
    seen = run.closed(64)
    return {"c64 rate": seen["requests"] / seen["seconds"], "c64 cpu": seen["cpu"], "c64 p99": seen["p99"]}


def one_client(run):
    seen = run.closed(1)
    return {"c1 p50": seen["p50"], "c1 cpu": seen["cpu"]}


def paced(run):
    seen = run.drive("small", "rate", "400", str(1.5 * run.seconds))
    return {"400 p50": seen["p50"], "400 cpu": seen["cpu"]}


def streams(run):
    events = int(2 * run.seconds * 1e6 / GAP_US)
    seen = run.drive("small", "streams", "64", str(events))
    return {"event cpu": seen["event"], "event p50": seen["transit_p50"], "event p99": seen["transit_p99"]}


def large_bodies(run):
    return {f"{kind} cpu": run.closed(8, kind)["cpu"] for kind in ("large", "escaped")}


def memory_warm(run):
    return {"rss": memory(run.process.pid)}


def beside_idle(run):
    """CPU a request while so many connections to the backends are idle, and how many were."""
    figures = {}
    for connections in (1000, 3000):
        run.drive("small", "burst", str(connections))
        # The clients' own connections are closed meanwhile.
        time.sleep(0.3)
        figures[f"idle {connections}"] = held(run.mocks)
        figures[f"idle {connections} cpu"] = run.closed(8, seconds=min(run.seconds, 1.5))["cpu"]
    return figures


def held(mocks):
    def of(port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/connections") as answer:
            return int(answer.read())
    return sum(map(of, mocks))


def with_idle_clients(run):
    """KB of memory for each of many clients who asked once and stay."""
    before = memory(run.process.pid)
    command = [STOPWATCH, "drive", ",".join(map(str, run.ports)), "small", "idle", str(run.clients)]
    clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE)
    try:
        line = clients.stdout.readline()
        if not line:
            raise RuntimeError(clients.stderr.read()[:300])
        run.failed += json.loads(line)["failed"]
        return {"clients": run.clients,
                "client memory": (memory(run.process.pid) - before) * 1024 / run.clients}
    finally:
        clients.stdin.close()
        clients.wait()


EVERYBODY = [warm_up, many_clients, one_client, paced, streams, large_bodies]
PROXIES = [*EVERYBODY, memory_warm, beside_idle, with_idle_clients]


def counts(peer, world):
    """What does not hang on how fast the machine is, so once: system calls and allocations."""
    figures = {}
    with world.running(peer) as run:
        run.closed(1, seconds=0.5)
        for key, unit, how in COUNTED:
            figures[f"{key} calls"] = system_calls(tree(run.process.pid), lambda: run.drive(*how), unit)
    with tempfile.NamedTemporaryFile() as file:
        with world.running(peer, environment=allocations.environment(file.name)) as run:
            run.closed(1, seconds=0.5)
            for key, unit, how in COUNTED:
                figures |= allocations.counted(file, lambda: run.drive(*how), unit, key)
    return figures


COUNTED = [("c1", "requests", ["small", "closed", "1", "1"]),
           ("c64", "requests", ["small", "closed", "64", "1"]),
           ("large", "requests", ["large", "closed", "1", "1"]),
           ("event", "events", ["small", "streams", "64", "200"])]


# -- The proxies and their backends ------------------------------------------------------------------


class World:
    """The backends, and one proxy in front of them at a time."""

    def __init__(self, folder, seconds, clients):
        self.folder, self.seconds, self.clients = folder, seconds, clients
        self.backends = [(peers.free_port(), f"replica-000000000000000{at}") for at in (1, 2)]
        self.mocks = [port for port, _ in self.backends]
        words = [f"{port}:{nonce}" for port, nonce in self.backends]
        self.mock = subprocess.Popen([STOPWATCH, "mock", str(GAP_US), *words], stdout=subprocess.PIPE)
        self.mock.stdout.readline()

    def direct(self):
        return Run("direct", self.mock, self.mocks, self)

    @contextlib.contextmanager
    def running(self, peer, environment=None):
        """A proxy that answers; its last words where it does not."""
        port = peers.free_port()
        folder = tempfile.mkdtemp(dir=self.folder)
        command = peer.command(folder, port, self.backends)
        with open(os.path.join(folder, "log"), "w+") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True,
                                       env=os.environ | (environment or {}))
            try:
                answers(process, port, log)
                yield Run(peer.name, process, [port], self)
            finally:
                peers.end(process)

    def end(self):
        self.mock.terminate()
        self.mock.wait()


def answers(process, port, log):
    """Waits until each backend was asked through the proxy."""
    end, streak = time.monotonic() + 60, 0
    while streak < 4:
        if process.poll() is not None or time.monotonic() > end:
            log.seek(0)
            raise RuntimeError(f"does not serve: {log.read()[-400:]}")
        try:
            body = json.dumps({"model": "m", "prompt": "Is it?", "max_tokens": 1}).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body,
                                             {"content-type": "application/json"})
            urllib.request.urlopen(request, timeout=5).read()
            streak += 1
        except OSError:
            streak = 0
            time.sleep(0.1)


# -- The table ---------------------------------------------------------------------------------------

# What a row is called, its figure, the digits that are shown, and whether it is held against nginx's.
ROWS = [
    ("c=64, 2 KB: requests/s", "c64 rate", 0, True),
    ("… CPU a request, µs", "c64 cpu", 1, True),
    ("… p99, µs", "c64 p99", 0, True),
    ("c=1: p50, µs", "c1 p50", 0, True),
    ("… added, µs", "c1 added", 0, True),
    ("… CPU a request, µs", "c1 cpu", 1, True),
    ("400 requests/s: p50, µs", "400 p50", 0, True),
    ("… CPU a request, µs", "400 cpu", 1, True),
    ("64 streams x 200/s: CPU an event, µs", "event cpu", 1, True),
    ("… transit of an event, p50 µs", "event p50", 0, True),
    ("… p99, µs", "event p99", 0, True),
    ("200 KB bodies, c=8: CPU a request, µs", "large cpu", 0, True),
    ("… with escapes, `model` last", "escaped cpu", 0, True),
    ("memory, MB", "rss", 1, True),
    ("clients that asked once and stay", "clients", 0, False),
    ("… memory of each, KB", "client memory", 2, True),
    ("c=8 after 1,000 at once: connections kept", "idle 1000", 0, False),
    ("… CPU a request, µs", "idle 1000 cpu", 1, True),
    ("c=8 after 3,000 at once: connections kept", "idle 3000", 0, False),
    ("… CPU a request, µs", "idle 3000 cpu", 1, True),
    ("system calls a request, c=1", "c1 calls", 2, True),
    ("… c=64", "c64 calls", 2, True),
    ("… 200 KB, c=1", "large calls", 2, True),
    ("… an event", "event calls", 2, True),
    ("allocations a request, c=1", "c1 allocations", 2, True),
    ("… c=64", "c64 allocations", 2, True),
    ("… 200 KB, c=1", "large allocations", 2, True),
    ("… an event", "event allocations", 2, True),
    ("KB allocated a request, c=1", "c1 allocated", 1, True),
    ("… 200 KB, c=1", "large allocated", 1, True),
    ("requests that failed", "failed", 0, False),
]


def cell(values, others, digits):
    """`median (least-most)`, and the median ratio to nginx in the same repeat."""
    there = [value for value in values if value is not None]
    if not there:
        return "–"
    middle, least, most = (f"{f(there):,.{digits}f}" for f in (statistics.median, min, max))
    shown = middle if least == most else f"{middle} ({least}-{most})"
    ratios = [a / b for a, b in zip(values, others) if a is not None and b]
    return f"{shown} **{statistics.median(ratios):.2f}x**" if ratios else shown


def show(found):
    """Prints the table of what was found: a list of figures, one a repeat, for each name."""
    for runs in found.values():
        for run, direct in zip(runs, found.get("direct", [])):
            if "c1 p50" in run and "c1 p50" in direct and run is not direct:
                run["c1 added"] = run["c1 p50"] - direct["c1 p50"]
    print("\n| | " + " | ".join(found) + " |\n|---" + "|---" * len(found) + "|")
    values = lambda name, key: [run.get(key) for run in found.get(name, [])]
    for title, key, digits, is_held in ROWS:
        nginx = values("nginx", key) if is_held else []
        cells = [cell(values(name, key), [] if name in ("nginx", "direct") else nginx, digits)
                 for name in found]
        if set(cells) != {"–"}:
            print(f"| {title} | " + " | ".join(cells) + " |")
    print("\nA figure is `median (least-most)` of the repeats; **x** is the median of the ratios to nginx's in the "
          "same repeat. Under `direct` stands the CPU of the backends themselves.")


# -- All of them -------------------------------------------------------------------------------------


def in_turn(there, world, repeats):
    """The figures of each in each repeat. Who fails says so, and its others stand."""
    found = {"direct": []} | {peer.name: [] for peer in there}
    everybody = [None, *there]
    for number in range(repeats):
        start = number % len(everybody)
        for peer in everybody[start:] + everybody[:start]:
            name = peer.name if peer else "direct"
            try:
                found[name].append(once(peer, world))
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                found[name].append({})
                print(f"{name}, repeat {number + 1}: {error}", file=sys.stderr)
    return found


def once(peer, world):
    if not peer:
        return measure(world.direct(), EVERYBODY)
    with world.running(peer) as run:
        return measure(run, PROXIES)


def count_once(there, world, found):
    for peer in there:
        try:
            found[peer.name][0] |= counts(peer, world)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            print(f"{peer.name}, counts: {error}", file=sys.stderr)


def available(names):
    """The peers that can run here; of the rest it is said why not."""
    there = []
    for peer in peers.ALL:
        if names and peer.name not in names:
            continue
        why = peer.why_absent()
        if why:
            print(f"SKIPPED {peer.name}: {why}")
        else:
            there.append(peer)
    return there


def room_for_files():
    """Takes as many open files as there may be, and returns how many clients may stay with them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return CLIENTS if most == resource.RLIM_INFINITY else min(CLIENTS, (most - 500) // 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each closed loop")
    parser.add_argument("--quick", action="store_true", help="two repeats of half a second: does all of it work?")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone, beside `direct`")
    parser.add_argument("--no-counts", action="store_true", help="no system calls and allocations")
    parser.add_argument("--json", metavar="FILE", help="every figure of every repeat")
    args = parser.parse_args()
    repeats, seconds = (2, 0.5) if args.quick else (args.repeats, args.seconds)
    there = available(args.only)
    machine()
    print(", ".join(f"{peer.name} {peer.version()}" for peer in there))
    clients = room_for_files()
    # So that whoever ends this ends the proxies too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    folder = tempfile.mkdtemp(prefix="replica-perf-")
    world = World(folder, seconds, clients)
    try:
        found = in_turn(there, world, repeats)
        if not args.no_counts:
            count_once(there, world, found)
    finally:
        world.end()
        shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(found, file, indent=1)
    show(found)
    machine()


if __name__ == "__main__":
    STOPWATCH = stopwatch()
    main()
