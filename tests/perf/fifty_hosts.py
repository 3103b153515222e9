#!/usr/bin/python3 -B
"""A `plan` of fifty hosts: without an error, and what it costs here and there.

    fifty_hosts.py [--hosts 50] [--runs 7] [--apply]

Without --apply everything is still to be created; with it, everything runs and nothing is to do
(a simulated server on each host: some 4 GB of memory, and a minute).
"""

import argparse
import json
import resource
import subprocess

from common import call, converge, lab, machine, manifest, ratio, spread, table, timed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--apply", action="store_true")
    args = parser.parse_args()
    with lab(args.hosts) as up:
        path = manifest(up)
        if args.apply:
            converge(up, path)
        plan = call(up, "plan", path)
        names = "printf '%s\\n' " + " ".join(up.hosts)
        ssh = ["sh", "-c", f"{names} | xargs -P{args.hosts} -I{{}} ssh -F {up.ssh_config} {{}} true"]
        machine()
        print(f"{args.hosts} hosts, {args.runs} runs, {'all runs' if args.apply else 'nothing runs'}\n")
        ours, theirs, there, unreached = [], [], [], 0
        for _ in range(args.runs):
            before = up.cpu()
            ours.append(timed(plan))
            there.append((up.cpu() - before) * 1e3)
            theirs.append(timed(ssh))
            said = json.loads(subprocess.run([*plan, "--json"], capture_output=True).stdout)
            unreached += len(said.get("unreachable", []))
    rows = [
        ["replica plan", spread([w for w, _ in ours]), spread([c for _, c in ours]), spread(there)],
        ["xargs ssh HOST true", spread([w for w, _ in theirs]), spread([c for _, c in theirs]), ""],
        ["ratio", *(ratio([r[i] for r in ours], [r[i] for r in theirs], 3) for i in (0, 1)), ""],
    ]
    table(["", "wall ms", "CPU here ms", "CPU of the hosts ms"], rows)
    print(f"\nhosts not reached: {unreached}")


if __name__ == "__main__":
    main()
