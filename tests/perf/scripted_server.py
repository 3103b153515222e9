#!/usr/bin/python3 -B
"""A vLLM look-alike that answers by a timetable and writes down when it wrote what.

It stands in for the `replica` that serves a simulated engine (see load_error.py), so its command line
is `simulate serve MODEL --host H --port P --served-model-name NAME…`. One line for each stream goes to
the file that SCRIPTED_LOG names: the request's id, when its last byte was read, and when each token was
handed to the kernel, in nanoseconds of the monotonic clock.

The first token comes after FIRST ms, each further one after GAP ms.
"""

import asyncio
import json
import os
import socket
import sys
import time

FIRST = float(os.environ.get("SCRIPTED_FIRST", "40")) / 1e3
GAP = float(os.environ.get("SCRIPTED_GAP", "25")) / 1e3


def option(name, default):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def names():
    found = []
    for word in sys.argv[sys.argv.index("--served-model-name") + 1:]:
        if word.startswith("--"):
            break
        found.append(word)
    return found


NAMES = names()
LOG = open(os.environ.get("SCRIPTED_LOG", os.devnull), "a", buffering=1)


def answer(status, body):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (status.encode(), len(body))) + body


class Connection(asyncio.Protocol):
    def __init__(self):
        self.seen, self.streaming = b"", None

    def connection_made(self, transport):
        self.transport = transport
        link = transport.get_extra_info("socket")
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, _error):
        if self.streaming:
            self.streaming.cancel()

    def data_received(self, data):
        at = time.monotonic_ns()
        self.seen += data
        head, found, body = self.seen.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        if len(body) < int(headers.get("content-length", 0)):
            return
        self.seen = b""
        path = lines[0].split(" ")[1]
        if path == "/health":
            self.transport.write(answer("200 OK", b""))
        elif path == "/v1/models":
            models = [{"id": name, "object": "model", "max_model_len": 32768} for name in NAMES]
            self.transport.write(answer("200 OK", {"object": "list", "data": models}))
        elif path in ("/v1/completions", "/v1/chat/completions"):
            self.complete(path, json.loads(body), headers.get("x-request-id", ""), at)
        else:
            self.transport.write(answer("404 Not Found", {}))

    def complete(self, path, asked, identity, at):
        chat = path.startswith("/v1/chat")
        tokens = int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 16)
        common = {"id": identity, "model": asked.get("model", ""), "created": 1,
                  "object": "chat.completion.chunk" if chat else "text_completion"}
        usage = {"prompt_tokens": 8, "completion_tokens": tokens, "total_tokens": 8 + tokens}
        if not asked.get("stream"):
            text = " a" * tokens
            choice = {"index": 0, "finish_reason": "length"}
            choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            self.transport.write(answer("200 OK", common | {"choices": [choice], "usage": usage}))
            return
        self.streaming = Stream(self.transport, chat, common, tokens, usage, identity, at)


class Stream:
    """One answer; every write is stamped directly after the kernel has it."""

    def __init__(self, transport, chat, common, tokens, usage, identity, at):
        self.transport, self.chat, self.common = transport, chat, common
        self.tokens, self.usage, self.identity, self.at = tokens, usage, identity, at
        self.written = []
        self.loop = asyncio.get_running_loop()
        self.due = self.loop.time() + FIRST
        transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n")
        self.timer = self.loop.call_at(self.due, self.token)

    def cancel(self):
        self.timer.cancel()

    def event(self, document):
        data = b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode())
        data += b"\n\n"
        return b"%x\r\n%s\r\n" % (len(data), data)

    def token(self):
        count = len(self.written) + 1
        choice = {"index": 0, "finish_reason": "length" if count == self.tokens else None}
        choice |= {"delta": {"content": " a"}} if self.chat else {"text": " a"}
        usage = self.usage | {"completion_tokens": count, "total_tokens": 8 + count}
        data = self.event(self.common | {"choices": [choice], "usage": usage})
        if count == self.tokens:
            data += self.event(self.common | {"choices": [], "usage": self.usage})
            data += self.event(b"[DONE]") + b"0\r\n\r\n"
        self.transport.write(data)
        self.written.append(time.monotonic_ns())
        if count < self.tokens:
            self.due += GAP
            self.timer = self.loop.call_at(self.due, self.token)
        else:
            LOG.write(json.dumps([self.identity, self.at, self.written]) + "\n")


async def main():
    host, port = option("--host", "127.0.0.1"), int(option("--port", "8000"))
    server = await asyncio.get_running_loop().create_server(Connection, host, port, backlog=1024)
    print("Application startup complete.", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:3] != ["simulate", "serve"]:
        sys.exit("only serves")
    asyncio.run(main())
