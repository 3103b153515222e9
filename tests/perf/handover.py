#!/usr/bin/python3 -B
"""How long the proxy takes from the last byte of who has read a prompt to the first byte to who answers.

    handover.py [--requests 2000] [--sizes 8192 200000]

Two servers of this program's own answer at once, one after another request. The proxy measures itself
(`replica_proxy_handoff_seconds`); what a client waits for all of it stands beside that.
"""

import argparse
import json
import socket
import statistics
import subprocess
import threading
import time

from common import machine, replica, table

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
    while len(body) < length:
        body += stream.recv(1 << 18)
    return head, body


class Server:
    """Answers everything with one body, on connections that stay."""

    def __init__(self, answer):
        self.answer = json.dumps(answer).encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.converse, args=(stream,), daemon=True).start()

    def converse(self, stream):
        while read(stream):
            stream.sendall(message("HTTP/1.1 200 OK", self.answer))


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


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--requests", type=int, default=2000)
    asked.add_argument("--sizes", type=int, nargs="+", default=[8192, 200_000])
    args = asked.parse_args()
    usage = {"prompt_tokens": 300, "total_tokens": 301, "completion_tokens": 1}
    reader = Server({"id": "cmpl-1", "choices": [{"text": ""}], "usage": usage, "kv_transfer_params": HELD})
    writer = Server({"id": "cmpl-1", "choices": [{"text": "x" * 500}], "usage": usage})
    port = free_port()
    proxy = subprocess.Popen(
        [replica(), "proxy", "--listen", f"127.0.0.1:{port}", "--backend", f"{reader.url},role=prefill",
         "--backend", f"{writer.url},role=decode"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        machine()
        rows = []
        for size in args.sizes:
            body = json.dumps({"model": "m", "prompt": "x" * size, "max_tokens": 20}).encode()
            request = message("POST /v1/completions HTTP/1.1\r\nhost: p", body)
            waited = []
            with connect(port) as stream:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for number in range(-100, args.requests):
                    if number == 0:
                        before = histogram(port)
                    began = time.monotonic()
                    stream.sendall(request)
                    head, _ = read(stream)
                    if b"x-replica-prefill" not in head or b" 200 " not in head:
                        raise RuntimeError(head.decode())
                    if number >= 0:
                        waited.append((time.monotonic() - began) * 1e6)
            after = histogram(port)
            bounds = [f"<= {below(before, after, part) * 1e6:.0f}" for part in (0.5, 0.9, 0.99)]
            rows.append([size, args.requests, *bounds, f"{statistics.median(waited):.0f}"])
        table(["bytes", "requests", "hand-over p50, us", "p90", "p99", "client p50, us"], rows)
    finally:
        proxy.terminate()
        proxy.wait()


main()
