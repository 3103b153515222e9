#!/usr/bin/python3 -B
"""Builds of the proxy against nginx, all up at once and asked in short turns.

    proxy_in_turns.py [--turns 40] [--seconds 0.4] [NAME=BINARY...]

A machine whose speed changes from minute to minute changes it for all who are asked within a second:
so each turn asks everybody, in another order each time, and a ratio is that of one turn. Without a
build it is the release that is asked.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile

import peers
import proxy_against_peers as table
from common import machine, stopwatch

# What a row is called, its figure, the load that it is seen under.
ROWS = [
    ("c=64: requests/s", "rate", ("small", "closed", "64")),
    ("… CPU a request, µs", "cpu", ("small", "closed", "64")),
    ("… p50, µs", "p50", ("small", "closed", "64")),
    ("c=1: CPU a request, µs", "cpu", ("small", "closed", "1")),
    ("… p50, µs", "p50", ("small", "closed", "1")),
    ("200 KB with escapes, c=8: CPU a request, µs", "cpu", ("escaped", "closed", "8")),
]


def turn(runs, seconds):
    """What each saw of each load, everybody within a moment."""
    seen = {}
    for load in dict.fromkeys(load for _, _, load in ROWS):
        for run in random.sample(runs, len(runs)):
            found = run.drive(*load, str(seconds))
            seen[run.name, load] = found | {"rate": found["requests"] / found["seconds"]}
    return seen


def quartiles(values):
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def show(turns, builds):
    print("\n| | nginx | " + " | ".join(builds) + " |\n|---|---" + "|---" * len(builds) + "|")
    for title, key, load in ROWS:
        nginx = [seen["nginx", load][key] for seen in turns]
        cells = [quartiles([seen[name, load][key] / of for seen, of in zip(turns, nginx)]) for name in builds]
        print(f"| {title} | {statistics.median(nginx):,.1f} | " + " | ".join(cells) + " |")
    print("\nThe median of the ratios to nginx's in the same turn (and the middle half of them); of nginx, its figure.")


def build(word):
    name, _, binary = word.partition("=")
    if not os.access(binary, os.X_OK):
        sys.exit(f"{word}: NAME=BINARY, and {binary or 'a binary'} that can be run")
    return peers.Ours(name, os.path.abspath(binary))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each load in a turn")
    parser.add_argument("builds", nargs="*", metavar="NAME=BINARY", type=build)
    args = parser.parse_args()
    builds = args.builds or [peers.Ours()]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    machine()
    table.room_for_files()
    folder = tempfile.mkdtemp(prefix="replica-perf-")
    world = table.World(folder, args.seconds, 0)
    try:
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(world.running(peer)) for peer in [peers.Nginx(), *builds]]
            # The first turn warms up.
            turns = [turn(runs, args.seconds) for _ in range(args.turns + 1)][1:]
            failed = sum(run.failed for run in runs)
    finally:
        world.end()
        shutil.rmtree(folder, ignore_errors=True)
    show(turns, [peer.name for peer in builds])
    print(f"Requests that failed: {failed}.")
    machine()


if __name__ == "__main__":
    table.STOPWATCH = stopwatch()
    main()
