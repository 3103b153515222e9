#!/usr/bin/python3 -B
"""Round trips from the start of a `plan` to its finished observation, or of an `apply` to its end.

    round_trips.py [--hosts 3] [--runs 9] [--rtt 50 100] [--replace]

With `--replace` an `apply` is looked at that replaces every server, one after another.

Two counts. By the clock: what a plan takes longer when each round trip is longer, divided by how
much longer. By the packets (where there is tcpdump): how often the client had to wait a round trip
for the next word of a host.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import time

from common import call, converge, lab, machine, manifest, must, spread, table, timed

# So long that nothing that a host does takes as long.
LONG = 300


def captured(up, command):
    """Runs a command under tcpdump: for each connection the times of what came from the host."""
    watcher = subprocess.Popen(
        ["tcpdump", "-i", up.environment["LAB_IF"], "-n", "-tt", "-l", "--immediate-mode",
         "tcp", "port", "22"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while "listening on" not in watcher.stderr.readline():
            pass
        must(command)
        time.sleep(0.5)
    finally:
        watcher.terminate()
    connections = {}
    for line in watcher.stdout:
        # 1763866800.123 IP 10.1.0.1.41000 > 10.1.0.11.22: Flags [S], seq ... length 0
        found = re.match(r"([0-9.]+) IP (\S+) > (\S+): Flags \[(\S+)\],.* length (\d+)", line)
        if not found:
            continue
        at, sender, receiver, flags, length = found.groups()
        if sender.endswith(".22"):
            if int(length) or "S" in flags:
                connections[receiver].append(float(at))
        elif "S" in flags:
            connections[sender] = [float(at)]
    watcher.wait()
    return connections


def waits(times, rtt):
    """How many round trips the client waited for the host's next word. What the host itself takes to
    think is less than one of them, and an answer that comes in parts is one answer."""
    return sum(int((later - earlier) / rtt + 0.02) for earlier, later in zip(times, times[1:]))


def replaced_by(up, path):
    """An apply before which an argument of all servers is changed, each time anew."""
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace("{simulate:", "{args: {max_num_seqs: 64}, simulate:"))
    change = 'sed -i "s/max_num_seqs: [0-9]*/max_num_seqs: $(($$ % 900 + 65))/" "$3" && exec "$@"'
    return ["sh", "-c", change, "sh", *call(up, "apply", path, "--auto-approve")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--rtt", type=float, nargs="+", default=[50, 100], help="milliseconds")
    parser.add_argument("--replace", action="store_true", help="of an apply that replaces all servers")
    args = parser.parse_args()
    # The delay line is there from the start, so that both walls are over the same wires.
    with lab(args.hosts, "--delay", "0.01ms") as up:
        path = manifest(up)
        converge(up, path)
        plan = call(up, "plan", path, "--detailed-exitcode")
        if args.replace:
            plan = replaced_by(up, path)
        machine()
        print(f"{args.hosts} hosts, {args.runs} runs of each, in turn\n")
        timed(plan)
        walls = {rtt: [] for rtt in [0, *args.rtt]}
        for _ in range(args.runs):
            for rtt, found in walls.items():
                up.delay(rtt or 0.02)
                found.append(timed(plan)[0])
        rows = [["no delay", spread(walls[0]), ""]]
        for rtt in args.rtt:
            trips = [(wall - statistics.median(walls[0])) / rtt for wall in walls[rtt]]
            rows.append([f"{rtt:g} ms", spread(walls[rtt]), spread(trips, 1)])
        table(["round trip", "wall ms", "round trips"], rows)
        if shutil.which("tcpdump") and os.geteuid() == 0:
            up.delay(LONG)
            found = captured(up, plan)
            print(f"\nBy the packets, at {LONG} ms:")
            table(["connection", "words of the host", "waits of a round trip"],
                  [[client, len(times) - 1, waits(times, LONG / 1e3)]
                   for client, times in found.items()])


if __name__ == "__main__":
    main()
