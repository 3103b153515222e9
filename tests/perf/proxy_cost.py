#!/usr/bin/python3 -B
"""What the proxy costs: against no proxy, and against nginx where it is installed.

    proxy_cost.py [--requests 3000] [--rounds 7] [--streams 512]

One backend that answers at once (nginx, else a simulated server) is asked directly, through the
proxy, and through nginx as a proxy with kept connections, in turn. The client is one Python process:
requests per second are what it and the rest reach together on this machine, so the CPU per request
is the better figure. It includes the kernel's part.
"""

import argparse
import asyncio
import contextlib
import glob
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

from common import machine, replica, spread, table

NONCE = "replica-0000000000000000"
ANSWER = json.dumps({"id": "c", "object": "text_completion", "model": "m", "choices": [
    {"index": 0, "text": " yes", "finish_reason": "length"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}})
MODELS = json.dumps({"object": "list", "data": [{"id": "m"}, {"id": NONCE}]})


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def cpu(pid):
    """Milliseconds of CPU of a process and its children."""
    total, every = 0, [pid]
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        with open(task) as file:
            every += file.read().split()
    for one in every:
        for task in glob.glob(f"/proc/{one}/task/*/schedstat"):
            with open(task) as file:
                total += int(file.read().split()[0])
    return total / 1e6


# -- Servers ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(command, port, **options):
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **options)
        try:
            end = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise RuntimeError(f"{command}: {log.read().decode()}")
                time.sleep(0.02)
            yield process
        finally:
            process.terminate()
            process.wait()


def nginx(folder, name, port, server):
    path = os.path.join(folder, f"{name}.conf")
    with open(path, "w") as file:
        file.write(
            f"daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log stderr;\n"
            "events { worker_connections 4096; }\n"
            "http { access_log off; default_type application/json; keepalive_requests 1000000;\n"
            f"client_body_temp_path {folder}/{name}; proxy_temp_path {folder}/{name};\n"
            f"fastcgi_temp_path {folder}/{name}; uwsgi_temp_path {folder}/{name};\n"
            f"scgi_temp_path {folder}/{name};\n{server} }}\n"
        )
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    return started(["nginx", "-p", folder, "-c", path], port)


def backend(folder, port):
    if shutil.which("nginx"):
        return nginx(folder, "backend", port,
                     f"server {{ listen 127.0.0.1:{port} backlog=4096;\n"
                     f"location = /v1/models {{ return 200 '{MODELS}'; }}\n"
                     f"location / {{ return 200 '{ANSWER}'; }} }}")
    return simulated(port)


def simulated(port):
    return started([replica(), "simulate", "--host", "127.0.0.1", "--port", str(port), "--model", "m",
                    "--served-model-name", "m", NONCE, "--max-num-seqs", "1024"], port)


def ours(folder, name, port, upstream):
    state = os.path.join(folder, f"{name}.json")
    with open(state, "w") as file:
        json.dump({"config": {"generation": 1, "policy": "round_robin", "backends": [
            {"name": "a", "authority": f"127.0.0.1:{upstream}", "nonce": NONCE}]}}, file)
    return started([replica(), "proxy", "--port", str(port), "--control", f"{name}.sock",
                    "--state", state], port, cwd=folder)


def theirs(folder, name, port, upstream):
    return nginx(folder, name, port,
                 f"upstream u {{ server 127.0.0.1:{upstream}; keepalive 512; "
                 "keepalive_requests 1000000; }\n"
                 f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ "
                 "proxy_pass http://u; proxy_http_version 1.1; proxy_buffering off;\n"
                 "proxy_set_header Connection ''; } }")


# -- The client ------------------------------------------------------------------------------------

BODY = json.dumps({"model": "m", "prompt": "Is it?", "max_tokens": 1}).encode()


def request(body=BODY):
    return (b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body


def one_by_one(port, count):
    """Microseconds of each request on one kept connection."""
    message, found = request(), []
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            began = time.perf_counter_ns()
            link.sendall(message)
            answer = b""
            while not answer.endswith(b"}"):
                piece = link.recv(65536)
                if not piece:
                    raise RuntimeError("hung up")
                answer += piece
            found.append((time.perf_counter_ns() - began) / 1e3)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
    return found


class Asking(asyncio.Protocol):
    """One connection that asks again and again."""

    def __init__(self, share, over):
        self.message, self.share, self.over, self.failed, self.answer = request(), share, over, 0, b""

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.message)

    def data_received(self, data):
        self.answer += data
        if not self.answer.endswith(b"}"):
            return
        self.failed += not self.answer.startswith(b"HTTP/1.1 200")
        self.answer = b""
        self.share -= 1
        if self.share:
            self.transport.write(self.message)
        else:
            self.transport.close()

    def connection_lost(self, _error):
        self.failed += self.share
        self.over.set_result(None)


async def side_by_side(port, count, links):
    """Failures and seconds of so many requests on so many connections."""
    loop = asyncio.get_running_loop()
    began, ends, all_links = time.monotonic(), [], []
    for _ in range(links):
        ends.append(loop.create_future())
        _, asking = await loop.create_connection(
            lambda: Asking(count // links, ends[-1]), "127.0.0.1", port)
        all_links.append(asking)
    await asyncio.gather(*ends)
    return sum(link.failed for link in all_links), time.monotonic() - began


async def stream(port, tokens):
    """What is wrong with one stream, or nothing."""
    body = json.dumps({"model": "m", "prompt": "Tell.", "max_tokens": tokens, "stream": True,
                       "ignore_eos": True, "stream_options": {"include_usage": True}}).encode()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(body))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            return head.split(b"\r\n")[0].decode()
        said = b""
        while b"data: [DONE]" not in said:
            piece = await reader.read(65536)
            if not piece:
                return "cut short"
            said += piece
        writer.close()
        whole = b'"completion_tokens":%d' % tokens in said.replace(b": ", b":")
        return None if whole else f"not {tokens} tokens"
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"{type(error).__name__} {error}"


async def streams(port, count, tokens):
    return [e for e in await asyncio.gather(*(stream(port, tokens) for _ in range(count))) if e]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--streams", type=int, default=512)
    args = parser.parse_args()
    machine()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="replica-perf-"))
        below = free_port()
        stack.enter_context(backend(folder, below))
        ways = {"direct": (below, None)}
        for name, start in [("replica", ours), ("nginx", theirs)]:
            if start is ours or shutil.which("nginx"):
                port = free_port()
                process = stack.enter_context(start(folder, name, port, below))
                ways[name] = (port, process.pid)
        print(f"{args.requests} requests a round, {args.rounds} rounds in turn\n")
        time.sleep(1)
        alone = {name: [] for name in ways}
        many = {name: [] for name in ways}
        for turn in range(args.rounds + 1):
            for name, (port, pid) in ways.items():
                latency = statistics.median(one_by_one(port, args.requests // 4))
                before = cpu(pid) if pid else 0
                failed, took = asyncio.run(side_by_side(port, args.requests, 64))
                spent = (cpu(pid) - before if pid else 0) * 1e3 / args.requests
                if turn:
                    alone[name].append(latency)
                    many[name].append((args.requests // 64 * 64 / took, spent, failed))
        rows = []
        for name in ways:
            added = [a - b for a, b in zip(alone[name], alone["direct"])]
            rows.append([name, spread(alone[name]), spread(added),
                         spread([rate for rate, _, _ in many[name]]),
                         spread([spent for _, spent, _ in many[name]], 1),
                         sum(failed for _, _, failed in many[name])])
        table(["", "c=1 us", "added us", "c=64 requests/s", "CPU us/request", "failed"], rows)
        below = free_port()
        stack.enter_context(simulated(below))
        port = free_port()
        process = stack.enter_context(ours(folder, "streams", port, below))
        time.sleep(1.5)
        print(f"\n{args.streams} streams of 64 tokens at once:")
        rows = []
        for name, where in [("direct", below), ("replica", port)]:
            before, began = cpu(process.pid), time.monotonic()
            wrong = asyncio.run(streams(where, args.streams, 64))
            rows.append([name, len(wrong), f"{time.monotonic() - began:.1f}",
                         f"{cpu(process.pid) - before:.0f}" if where == port else "",
                         "; ".join(sorted(set(wrong))[:3])])
        table(["", "failed", "s", "proxy's CPU ms", "how"], rows)


if __name__ == "__main__":
    main()
