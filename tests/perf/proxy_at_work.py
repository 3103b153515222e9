#!/usr/bin/python3 -B
"""Gives one build of the proxy a little of all that `proxy_against_peers.py` measures.

    proxy_at_work.py BINARY [--seconds 3]

For a build that counts what it runs, so that the next is arranged by it (`.ci/release`), and for
profilers: nothing is measured here.
"""

import argparse
import os
import shutil
import sys
import tempfile

import peers
import proxy_against_peers as table
from common import stopwatch

# More of what there is more of: small bodies, and many at a time.
LOADS = [("small", "closed", "64", 2), ("small", "closed", "8", 1), ("small", "closed", "1", 1),
         ("small", "rate", "400", 1), ("large", "closed", "8", 1 / 3), ("escaped", "closed", "8", 1 / 3)]


def work(run, seconds):
    for *load, weight in LOADS:
        run.drive(*load, str(weight * seconds))
    run.drive("small", "streams", "64", str(int(seconds * 1e6 / table.GAP_US)))
    run.drive("small", "burst", "200")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--seconds", type=float, default=3, help="of a load")
    args = parser.parse_args()
    table.room_for_files()
    folder = tempfile.mkdtemp(prefix="replica-perf-")
    world = table.World(folder, args.seconds, 0)
    try:
        with world.running(peers.Ours("replica", os.path.abspath(args.binary))) as run:
            work(run, args.seconds)
            failed = run.failed
    finally:
        world.end()
        shutil.rmtree(folder, ignore_errors=True)
    if failed:
        sys.exit(f"{failed} requests failed")


if __name__ == "__main__":
    table.STOPWATCH = stopwatch()
    main()
