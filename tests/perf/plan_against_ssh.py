#!/usr/bin/python3 -B
"""A `plan` that finds nothing to do, against `xargs -P ssh HOST true` on the same hosts.

    plan_against_ssh.py [--hosts 3] [--pairs 15] [--rtt MS]

Wall time and CPU, children included, of both, in turn. Two more lines have ssh with the cheaper key
exchange, and only the `ssh -G` that a plan asks where a configuration is not plain.
"""

import argparse

from common import call, converge, lab, machine, manifest, pairs, ratio, spread, table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rtt", type=float, default=0, help="added round-trip time in ms")
    args = parser.parse_args()
    with lab(args.hosts) as up:
        path = manifest(up)
        converge(up, path)
        up.delay(args.rtt)
        names = "printf '%s\\n' " + " ".join(up.hosts)

        def ssh(*options):
            each = " ".join(["ssh", "-F", up.ssh_config, *options])
            return ["sh", "-c", f"{names} | xargs -P{args.hosts} -I{{}} {each}"]

        commands = {
            "replica plan": call(up, "plan", path, "--detailed-exitcode"),
            "xargs ssh HOST true": ssh("{}", "true"),
            "the same, curve25519": ssh("-o", "KexAlgorithms=curve25519-sha256", "{}", "true"),
            "xargs ssh -G HOST": ssh("-G", "{}"),
        }
        machine()
        print(f"{args.hosts} hosts, round trip + {args.rtt:g} ms, {args.pairs} pairs\n")
        results = dict(zip(commands, pairs(args.pairs, *commands.values())))
    ours = results["replica plan"]
    rows = []
    for name, theirs in results.items():
        row = [name, spread([w for w, _ in theirs]), spread([c for _, c in theirs], 1)]
        if theirs is ours:
            row += ["", ""]
        else:
            row += [ratio([run[i] for run in ours], [run[i] for run in theirs]) for i in (0, 1)]
        rows.append(row)
    table(["", "wall ms", "CPU ms", "plan's wall to it", "plan's CPU to it"], rows)


if __name__ == "__main__":
    main()
