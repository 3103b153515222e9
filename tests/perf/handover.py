#!/usr/bin/python3 -B
"""How long a proxy takes from the last byte of who has read a prompt to the first byte to who answers.

    handover.py [--requests 2000] [--sizes 8192 200000]

Two servers of this program's own answer at once, one after another request, and tell themselves when they
have sent and when they read. The proxy measures itself too (`replica_proxy_handoff_seconds`). Its peer is the
example that vLLM has among its tests, where `../real/server_tests/run.sh` has brought it.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import threading
import time

import processes
from common import machine, replica, spread, table

REAL = os.environ.get("REPLICA_REAL_VLLM", "/srv/replica-vllm")
EXAMPLE = os.path.join(REAL, "server-tests/tests/v1/kv_connector/nixl_integration/toy_proxy_server.py")
# Turns in which all of them are measured, one after another.
TURNS = 5

HELD = {"do_remote_prefill": True, "do_remote_decode": False, "remote_block_ids": list(range(300)),
        "remote_engine_id": "dc042d73-ba1f-4da2-aacd-737fe167d770", "remote_request_id": "cmpl-1-0",
        "remote_host": "127.0.0.1", "remote_port": 5600, "tp_size": 1}


def message(line, body):
    return f"{line}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def read(stream):
    """Reads one message: its head and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = stream.recv(1 << 18)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                   if line.startswith(b"content-length:")), 0)
    ended = (lambda: body.endswith(b"0\r\n\r\n")) if b"chunked" in head else (lambda: len(body) >= length)
    while not ended():
        body += stream.recv(1 << 18)
    return head, body


class Server:
    """Answers everything with one body, on connections that stay; knows when it read and when it had sent."""

    def __init__(self, answer):
        self.answer = json.dumps(answer).encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.began = self.ended = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.converse, args=(stream,), daemon=True).start()

    def converse(self, stream):
        while stream.recv(1, socket.MSG_PEEK):
            self.began = time.monotonic()
            read(stream)
            # Before it is sent: the other thread may run first.
            self.ended = time.monotonic()
            stream.sendall(message("HTTP/1.1 200 OK", self.answer))


class Ours:
    name = "replica"

    def __init__(self, port, reader, writer):
        self.process = subprocess.Popen(
            [replica(), "proxy", "--listen", f"127.0.0.1:{port}",
             "--backend", f"http://127.0.0.1:{reader},role=prefill",
             "--backend", f"http://127.0.0.1:{writer},role=decode"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def own_measure(self, port, before=None):
        """What it has measured of itself; below which bound half of that lies, since `before`."""
        now = histogram(port)
        return now if before is None else f"<= {below(before, now, 0.5) * 1e6:.0f}"


class Example:
    name = "vLLM's example"

    def __init__(self, port, reader, writer):
        self.process = subprocess.Popen(
            [os.path.join(REAL, "venv/bin/python"), EXAMPLE, "--port", str(port),
             "--prefiller-host", "127.0.0.1", "--prefiller-port", str(reader),
             "--decoder-host", "127.0.0.1", "--decoder-port", str(writer)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def own_measure(self, _port, before=None):
        return before or ""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def connect(port):
    for _ in range(200):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise RuntimeError("the proxy does not listen")


def histogram(port):
    """The counts below each bound."""
    with connect(port) as stream:
        stream.sendall(b"GET /metrics HTTP/1.1\r\nhost: p\r\n\r\n")
        page = read(stream)[1].decode()
    name = 'replica_proxy_handoff_seconds_bucket{le="'
    lines = [line.removeprefix(name) for line in page.splitlines() if line.startswith(name)]
    return [(float(bound.replace("+Inf", "inf")), int(count)) for bound, count in
            (line.split('"} ') for line in lines)]


def below(before, after, part):
    """The bound below which this part of those between lies."""
    counts = [(bound, count - earlier) for (bound, count), (_, earlier) in zip(after, before)]
    return next(bound for bound, count in counts if count >= part * counts[-1][1])


class Running:
    """A proxy before its two servers."""

    def __init__(self, kind):
        usage = {"prompt_tokens": 300, "total_tokens": 301, "completion_tokens": 1}
        self.reader = Server({"id": "cmpl-1", "choices": [{"text": ""}], "usage": usage,
                              "kv_transfer_params": HELD})
        self.writer = Server({"id": "cmpl-1", "choices": [{"text": "x" * 500}], "usage": usage})
        self.port = free_port()
        self.proxy = kind(self.port, self.reader.port, self.writer.port)

    def end(self):
        self.proxy.process.terminate()
        self.proxy.process.wait()

    def asks(self, size, count):
        """So many requests, one after another: microseconds between the servers, and for the client, CPU."""
        body = json.dumps({"model": "m", "prompt": "x" * size, "max_tokens": 20}).encode()
        request = message("POST /v1/completions HTTP/1.1\r\nhost: p", body)
        between, waited = [], []
        own, used = self.proxy.own_measure(self.port), processes.cpu(self.proxy.process.pid)
        with connect(self.port) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(count):
                began = time.monotonic()
                stream.sendall(request)
                head, _ = read(stream)
                waited.append((time.monotonic() - began) * 1e6)
                if b" 200 " not in head or self.writer.began < self.reader.ended:
                    raise RuntimeError(f"{self.proxy.name}: {head.decode()}")
                between.append((self.writer.began - self.reader.ended) * 1e6)
        used = (processes.cpu(self.proxy.process.pid) - used) / 1e3 / count
        return {"between": statistics.median(between), "waited": statistics.median(waited), "cpu": used,
                "own": self.proxy.own_measure(self.port, own)}


def kinds():
    yield Ours
    if os.path.exists(EXAMPLE):
        yield Example
    else:
        print(f"SKIPPED: {Example.name}: there is no {EXAMPLE}")


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--requests", type=int, default=2000)
    asked.add_argument("--sizes", type=int, nargs="+", default=[8192, 200_000])
    args = asked.parse_args()
    machine()
    running = [Running(kind) for kind in kinds()]
    try:
        rows = []
        for size in args.sizes:
            for one in running:
                one.asks(size, 50)
            turns = [[one.asks(size, args.requests // TURNS) for one in running] for _ in range(TURNS)]
            for one, found in zip(running, zip(*turns)):
                told = [spread([turn[key] for turn in found]) for key in ("between", "waited", "cpu")]
                rows.append([size, one.proxy.name, *told, found[-1]["own"]])
        table(["bytes", "proxy", "hand-over p50, us", "client p50, us", "CPU a request, us", "by itself p50, us"],
              rows)
    finally:
        for one in running:
            one.end()


main()
