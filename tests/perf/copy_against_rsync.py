#!/usr/bin/python3 -B
"""A model from host to host: `replica`'s copy against `rsync -a` over ssh on the same link.

    copy_against_rsync.py [--files 1 8] [--megabytes 512] [--runs 5] [--trusted]

Both put the same files into an empty folder of the other host, in turn, and both encrypt them. `replica` takes
the digest of everything meanwhile; rsync takes none that it compares with anything. `--trusted` is as on a
network that is declared so: `replica` does not encrypt there.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

from common import lab, machine, ratio, replica, spread, table

ONE, OTHER = "spark-01", "spark-02"
REPO = "/home/nvidia/models--perf--model"
COMMIT = "0" * 40
AS_NVIDIA = "setpriv --reuid=nvidia --regid=nvidia --clear-groups env HOME=/home/nvidia"


class Hosts:
    def __init__(self, up):
        self.up = up

    def start(self, host, script, **pipes):
        words = [os.path.join(os.path.dirname(__file__), "..", "lab", "lab"), "exec", host]
        return subprocess.Popen([*words, "sh", "-ec", script], env=self.up.environment, text=True,
                                stderr=subprocess.PIPE, **pipes)

    def run(self, host, script, said=""):
        """Runs a script as root: (seconds, what it printed)."""
        began = time.monotonic()
        child = self.start(host, script, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out, err = child.communicate(said)
        took = time.monotonic() - began
        if child.returncode:
            sys.exit(f"{host}: {script}: {err}")
        return took, out


def make(hosts, count, megabytes):
    """A snapshot of so many files, as the hub's tools leave one."""
    path = os.path.join(hosts.up.folder, "make.py")
    with open(path, "w") as file:
        file.write(f"""
import hashlib, os, shutil
repo, count, size = {REPO!r}, {count}, {megabytes} << 20
shutil.rmtree(repo, ignore_errors=True)
os.makedirs(repo + '/blobs'); os.makedirs(repo + '/snapshots/{COMMIT}'); os.makedirs(repo + '/refs')
for i in range(count):
    data = os.urandom(1 << 20) * (size // count >> 20)
    name = hashlib.sha256(data).hexdigest()
    open(repo + '/blobs/' + name, 'wb').write(data)
    os.symlink('../../blobs/' + name, repo + f'/snapshots/{COMMIT}/model-{{i}}.safetensors')
open(repo + '/refs/main', 'w').write('{COMMIT}')
""")
    hosts.up.run("install", ONE, path, "/opt/lab/make.py")
    hosts.run(ONE, f"python3 /opt/lab/make.py && chown -R nvidia: {REPO}")


def empty(hosts):
    hosts.run(OTHER, f"rm -rf {REPO} /home/nvidia/.cache")


def copied(hosts, trusted):
    """Seconds of `replica`'s copy, from the offer on."""
    empty(hosts)
    offer = {"repo": REPO, "revision": COMMIT, "listen": hosts.up.hosts[ONE], "token": "t" * 64,
             "trusted": trusted}
    began = time.monotonic()
    sender = hosts.start(ONE, f"exec {AS_NVIDIA} /opt/lab/replica copy-offer",
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    print(json.dumps(offer), file=sender.stdin, flush=True)
    port = json.loads(sender.stdout.readline())["port"]
    listing = json.loads(sender.stdout.readline())["listing"]
    fetch = {"repo": REPO, "host": hosts.up.hosts[ONE], "port": port, "token": offer["token"],
             "trusted": trusted, "listing": listing, "names_main": True}
    hosts.run(OTHER, f"exec {AS_NVIDIA} /opt/lab/replica copy-fetch", json.dumps(fetch) + "\n")
    took = time.monotonic() - began
    sender.wait()
    return took


def rsynced(hosts):
    empty(hosts)
    ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -i /home/nvidia/.ssh/id_lab"
    script = f"exec {AS_NVIDIA} rsync -a -e '{ssh}' nvidia@{hosts.up.hosts[ONE]}:{REPO} /home/nvidia/"
    return hosts.run(OTHER, script)[0]


def same(hosts):
    digest = f"cd {REPO} && find . -type f -exec sha256sum {{}} + | sort | sha256sum"
    if hosts.run(ONE, digest)[1] != hosts.run(OTHER, digest)[1]:
        sys.exit("what arrived is not what was sent")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--megabytes", type=int, default=512, help="of all files together")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--trusted", action="store_true", help="in the clear, as on a trusted network")
    args = parser.parse_args()
    if not shutil.which("rsync"):
        sys.exit("rsync is missing: apt-get install rsync")
    with lab(3, "--disk", f"{args.megabytes * 2 + 256}m") as up:
        hosts = Hosts(up)
        for host in (ONE, OTHER):
            up.run("install", host, replica(), "/opt/lab/replica")
        key = os.path.join(up.folder, "lab", "id_lab")
        up.run("install", OTHER, key, "/home/nvidia/.ssh/id_lab")
        hosts.run(OTHER, "chown nvidia: /home/nvidia/.ssh/id_lab && chmod 600 /home/nvidia/.ssh/id_lab")
        machine()
        print(f"{args.megabytes} MiB, {args.runs} pairs of runs, in turn\n")
        rows = []
        for count in args.files:
            make(hosts, count, args.megabytes)
            ours, theirs = [], []
            for run in range(args.runs + 1):
                took = copied(hosts, args.trusted)
                same(hosts)
                other = rsynced(hosts)
                same(hosts)
                if run:
                    ours.append(took)
                    theirs.append(other)
            speed = lambda times: spread([args.megabytes * 1.048576 / took for took in times])
            rows.append([count, speed(ours), speed(theirs), ratio(theirs, ours)])
        table(["files", "replica MB/s", "rsync MB/s", "replica is faster by"], rows)


if __name__ == "__main__":
    main()
