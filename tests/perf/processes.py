"""What processes use: CPU, memory, system calls and allocations."""

import contextlib
import glob
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

from common import HERE


def tree(pid):
    """A process and all that descend from it."""
    found = [pid]
    for one in found:
        for task in glob.glob(f"/proc/{one}/task/*/children"):
            with contextlib.suppress(OSError), open(task) as file:
                found += map(int, file.read().split())
    return found


def cpu(pid):
    """Nanoseconds of CPU of a process and its descendants. The ticks of /proc/PID/stat are too coarse."""
    total = 0
    for one in tree(pid):
        for task in glob.glob(f"/proc/{one}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(task) as file:
                total += int(file.read().split()[0])
    return total


def memory(pid):
    """MB that a process and its descendants have in memory."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError), open(f"/proc/{one}/status") as file:
            found = re.search(r"VmRSS:\s+(\d+)", file.read())
            total += int(found[1]) if found else 0
    return total / 1024


def system_calls(pids, work, unit):
    """System calls for each `unit` of what the work says it did; None where nobody can count them.

    The kernel counts with `perf`; strace, which stops a process at each call, is the second choice.
    """
    ways = [way for name, way in (("perf", by_perf), ("strace", by_strace)) if shutil.which(name)]
    for way in ways:
        calls, did = way(pids, work)
        if calls is not None:
            return calls / max(did[unit], 1)
    return None


def by_perf(pids, work):
    with tempfile.NamedTemporaryFile("r") as told:
        counting = subprocess.Popen(
            ["perf", "stat", "-x", ",", "-o", told.name, "-e", "raw_syscalls:sys_enter",
             "-p", ",".join(map(str, pids))], stderr=subprocess.DEVNULL)
        did = while_it_counts(counting, work)
        found = re.search(r"^(\d+),", told.read(), re.MULTILINE)
    return (int(found[1]) if found else None), did


def by_strace(pids, work):
    with tempfile.NamedTemporaryFile("r") as told:
        attached = [word for pid in pids for word in ("-p", str(pid))]
        counting = subprocess.Popen(["strace", "-f", "-c", "-o", told.name, *attached],
                                    stderr=subprocess.DEVNULL)
        did = while_it_counts(counting, work)
        found = re.search(r"^100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total", told.read(), re.MULTILINE)
    return (int(found[1]) if found else None), did


def while_it_counts(counting, work):
    try:
        time.sleep(0.5)
        return work()
    finally:
        counting.send_signal(signal.SIGINT)
        counting.wait()


class Allocations:
    """Counts calls of the C library's allocator. A program with one of its own is not seen, and a
    statically linked one neither: then next to none are counted, and none are told."""

    SEEN = 0.001

    def __init__(self):
        self.library = None

    def environment(self, path):
        if not self.library and shutil.which("cc"):
            folder = tempfile.mkdtemp(prefix="replica-perf-")
            self.library = os.path.join(folder, "count_allocations.so")
            source = os.path.join(HERE, "count_allocations.c")
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.library, source], check=True)
        with open(path, "wb") as file:
            file.truncate(16)
        return {"LD_PRELOAD": self.library, "ALLOCATIONS": path} if self.library else {}

    def counted(self, file, work, unit, key):
        """The calls for each `unit` that the work says it did, and KB."""
        read = lambda: struct.unpack("QQ", os.pread(file.fileno(), 16, 0))
        before = read()
        did = work()
        calls, size = (after - now for after, now in zip(read(), before))
        if calls == 0:
            return {}
        units = max(did[unit], 1)
        return {f"{key} allocations": calls / units, f"{key} allocated": size / 1024 / units}


allocations = Allocations()
