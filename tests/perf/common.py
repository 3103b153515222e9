"""What the programs of this folder share: a lab, a manifest, a stopwatch and a table."""

import contextlib
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LAB = os.path.join(ROOT, "tests", "lab", "lab")


def replica():
    """The release binary, or the one that REPLICA names."""
    path = os.environ.get("REPLICA") or os.path.join(ROOT, "target", "release", "replica")
    if not os.access(path, os.X_OK):
        sys.exit(f"{path} is missing: cargo build --release")
    return os.path.abspath(path)


def stopwatch():
    """Builds the server and the clients that measure."""
    folder = os.path.join(ROOT, "target", "stopwatch")
    manifest = os.path.join(HERE, "stopwatch", "Cargo.toml")
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--manifest-path", manifest,
                    "--target-dir", folder], check=True)
    return os.path.join(folder, "release", "stopwatch")


# -- The lab ---------------------------------------------------------------------------------------


class Lab:
    """Hosts of our own, beside any other lab."""

    def __init__(self, folder, hosts, *options):
        self.folder = folder
        state = os.path.join(folder, "lab")
        number = 100 + os.getpid() % 100
        self.environment = os.environ | {
            "LAB_STATE": state,
            "LAB_IF": f"labp{number}",
            "LAB_NET": f"10.{number}",
        }
        self.run("up", str(hosts), *options)
        self.ssh_config = os.path.join(state, "ssh_config")
        with open(os.path.join(state, "hosts.txt")) as file:
            self.hosts = dict(line.split()[:2] for line in file)

    def run(self, *words):
        done = subprocess.run([LAB, *words], env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"lab {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def delay(self, rtt_ms):
        """Sets the round-trip time that is added."""
        self.run("delay", f"{rtt_ms / 2}ms" if rtt_ms else "0")

    def cpu(self):
        """Seconds of CPU that all hosts have used."""
        return int(self.run("cpu").split()[0]) / 1e9


@contextlib.contextmanager
def lab(hosts, *options):
    folder = tempfile.mkdtemp(prefix="replica-perf-")
    up = None
    try:
        up = Lab(folder, hosts, *options)
        yield up
    finally:
        if up:
            up.run("down")
        shutil.rmtree(folder, ignore_errors=True)


def manifest(up):
    """Writes a manifest for all hosts: a simulated instance on each, a proxy on the controller."""
    nodes, instances = [], []
    for host, address in up.hosts.items():
        nodes.append(f"  {host}: {{ssh: {host}, addresses: {{lan: {address}}}}}\n")
        if host != "controller":
            name = "i-" + host.rpartition("-")[2]
            instances.append(f"  {name}: {{node: {host}, port: 8100, engine: demo, model: demo}}\n")
    path = os.path.join(up.folder, "topology.yaml")
    with open(path, "w") as file:
        file.write(
            "topology: perf\nnodes:\n" + "".join(nodes)
            + "engines:\n  demo: {simulate: {profile: fast}}\ninstances:\n" + "".join(instances)
            + "proxy: {node: controller, port: 8192, policy: round_robin, reach: lan}\n"
        )
    return path


def call(up, command, path, *options):
    """The command line of `replica` for a lab's manifest."""
    return [replica(), command, path, "--ssh-config", up.ssh_config, *options]


def converge(up, path):
    """Applies the manifest and checks that nothing is left to do."""
    must(call(up, "apply", path, "--auto-approve"))
    must(call(up, "plan", path, "--detailed-exitcode"))


def must(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


# -- The stopwatch ---------------------------------------------------------------------------------


def timed(command, environment=None):
    """Runs a command: (wall ms, CPU ms of it and its children). Its failure is ours."""
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                 env=environment)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{command}: {child.returncode}\n{said.read().decode()}")
    return wall * 1e3, (used.ru_utime + used.ru_stime) * 1e3


def pairs(count, *commands):
    """Runs the commands in turn, `count` times after one run that is thrown away: for each, its
    list of (wall ms, CPU ms)."""
    for command in commands:
        timed(command)
    results = [[] for _ in commands]
    for _ in range(count):
        for result, command in zip(results, commands):
            result.append(timed(command))
    return results


# -- The table -------------------------------------------------------------------------------------


def spread(values, digits=0):
    """`median (least-most)`."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def ratio(ours, theirs, digits=2):
    """The ratio pair by pair."""
    return spread([a / b for a, b in zip(ours, theirs)], digits)


def table(head, rows):
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def machine():
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, Linux {platform.release()}, "
          f"load {os.getloadavg()[0]:.1f}")
