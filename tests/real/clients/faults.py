#!/usr/bin/env python3
"""What OpenAI's SDK sees when real servers behind `replica proxy` fail: two of them, on CPUs.

    faults.py

Ends with 1 where a client saw what it must not see.
"""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time

import openai
from servers import OURS, REPO, end_all_on_sigterm, start_proxy, start_vllm

# With bfloat16 any structured answer ends the engine of vLLM 0.13 on a CPU: a natural poison.
BFLOAT16 = ["bfloat16" if word == "float32" else word for word in OURS]
WORDS = [REPO, "--served-model-name", "tiny", "--max-model-len", "8192"]
MESSAGES = [{"role": "user", "content": "hello"}]
STREAMS = 8
TOKENS = 4000
WRONG = []
NUMBERS = itertools.count()


def must(is_so, words):
    print(f"    {'ok' if is_so else 'WRONG'}: {words}")
    if not is_so:
        WRONG.append(words)


def start(port=None):
    return start_vllm(WORDS, ours=BFLOAT16, port=port)


def client(url, **more):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=120, **more)


class Stream(threading.Thread):
    """A client of a long stream, and what it saw."""

    def __init__(self, url):
        super().__init__()
        self.url, self.events, self.finish, self.saw, self.server = url, 0, None, None, None

    def run(self):
        asked = client(self.url, max_retries=0).chat.completions.with_raw_response
        try:
            answer = asked.create(
                model="tiny", messages=MESSAGES, temperature=0, max_tokens=TOKENS, stream=True,
                extra_body={"ignore_eos": True},
            )
            self.server = answer.headers.get("x-replica-instance")
            for event in answer.parse():
                self.events += 1
                self.finish = event.choices[0].finish_reason or self.finish
            self.saw = "a whole answer" if self.finish else "a clean end without a finish"
        except openai.OpenAIError as error:
            self.saw = f"{type(error).__name__}: {str(error)[:90]}"


def streams(url):
    """Streams that are under way."""
    started = [Stream(url) for _ in range(STREAMS)]
    for stream in started:
        stream.start()
    while any(stream.events < 5 and stream.is_alive() for stream in started):
        time.sleep(0.05)
    return started


def tell(started, name):
    """What the streams of a server saw, and those of the others."""
    for stream in started:
        stream.join(150)
    # Who was told nothing waited for it: no other server keeps one waiting for so long.
    here = [stream for stream in started if stream.server in (name, None)]
    there = [stream for stream in started if stream not in here]
    for words, some in (("at it", here), ("elsewhere", there)):
        for saw in sorted({str(stream.saw) for stream in some}):
            print(f"    {sum(str(it.saw) == saw for it in some)} streams {words}: {saw}")
    return here, there


def requests(url, count, seconds=0.0):
    """What short requests see, one after another: how many of each kind. No two are alike: what was in
    flight at a death is sent to nobody for a while, and its like neither."""
    seen = {}
    asked = client(url, max_retries=0).completions
    began = time.monotonic()
    for number in range(count):
        try:
            asked.create(model="tiny", prompt=f"hello {next(NUMBERS)}", temperature=0, max_tokens=4)
            saw = "200"
        except openai.APIStatusError as error:
            said = (error.body or {}).get("type") if isinstance(error.body, dict) else error.body
            saw = f"{error.status_code} {said}, x-should-retry {error.response.headers.get('x-should-retry')}"
        except openai.OpenAIError as error:
            saw = type(error).__name__
        seen[saw] = seen.get(saw, 0) + 1
        time.sleep(max(0.0, began + seconds * (number + 1) / count - time.monotonic()))
    print(f"    {count} requests: {json.dumps(seen)}, in {time.monotonic() - began:.1f} s")
    return seen


def name(server):
    return server.url.removeprefix("http://")


def is_stopped(proxy, server):
    print("SIGSTOP of a server, with streams in flight")
    started = streams(proxy.url)
    server.signal(signal.SIGSTOP)
    time.sleep(0.5)
    # Those that are sent to it wait until it goes on, or until they are seen not to be answered.
    waiting = [Stream(proxy.url) for _ in range(2)]
    for stream in waiting:
        stream.start()
    time.sleep(40)
    after = requests(proxy.url, 10)
    server.signal(signal.SIGCONT)
    here, there = tell(started + waiting, name(server))
    must(after == {"200": 10}, "after 40 s no request goes to it any more")
    must(all(it.finish for it in there), "the streams of the other server came to their end")
    must(all(it.finish or "Error" in it.saw for it in here), "none of its streams looked ended that was not")


def must_break_alone(here, there):
    must(here and all("Error" in it.saw for it in here), "each of its streams raised")
    must(there and all(it.finish for it in there), "the streams of the other server came to their end")


def is_killed(proxy, server):
    print("SIGKILL of a server, with streams in flight")
    started = streams(proxy.url)
    server.signal(signal.SIGKILL)
    after = requests(proxy.url, 20)
    here, there = tell(started, name(server))
    must_break_alone(here, there)
    must(after.get("200", 0) >= 19, "at most the one that was in flight failed beside them")


def engine_dies(proxy, server):
    print("SIGKILL of a server's engine, with streams in flight: its HTTP lives on for some seconds")
    listed = subprocess.run(["ps", "-eo", "pid,sid,comm"], capture_output=True, text=True).stdout.splitlines()
    [engine] = [
        line.split()[0] for line in listed if f" {server.process.pid} " in f" {line} " and "VLLM::Eng" in line
    ]
    started = streams(proxy.url)
    subprocess.run(["kill", "-KILL", engine], check=True)
    after = requests(proxy.url, 40, 4.0)
    here, there = tell(started, name(server))
    must_break_alone(here, there)
    must(after.get("200", 0) >= 38, "at most two requests saw its last answers")


def is_poisoned(proxy, servers):
    print("a request that ends the engine that gets it, sent by the SDK with its own retries")
    began = time.monotonic()
    try:
        client(proxy.url).chat.completions.create(
            model="tiny", messages=MESSAGES, max_tokens=8,
            response_format={"type": "json_schema", "json_schema": {"name": "is", "schema": {"enum": ["yes", "no"]}}},
        )
        saw = "an answer"
    except openai.OpenAIError as error:
        response = getattr(error, "response", None)
        again = response.headers.get("x-should-retry") if response is not None else None
        saw = f"{type(error).__name__}: {str(error)[:200]} (x-should-retry {again})"
    print(f"    the call, after {time.monotonic() - began:.1f} s: {saw}")
    time.sleep(10)
    alive = [server for server in servers if server.process.poll() is None]
    must(len(alive) == len(servers) - 1, f"{len(alive)} of {len(servers)} servers live on")
    must(requests(proxy.url, 10) == {"200": 10}, "the others are answered")


def main():
    end_all_on_sigterm()
    servers = [start(), start()]
    proxy = None
    try:
        for server in servers:
            server.wait_until_ready()
        proxy = start_proxy(*servers).wait_until_ready()
        # The first sampled request compiles.
        requests(proxy.url, 4)
        is_stopped(proxy, servers[0])
        for fault in (is_killed, engine_dies):
            fault(proxy, servers[0])
            servers[0].end()
            servers[0] = start(servers[0].port).wait_until_ready()
            time.sleep(10)
            must(requests(proxy.url, 4) == {"200": 4}, "its successor is taken in")
        is_poisoned(proxy, servers)
    finally:
        for process in [*servers, *([proxy] if proxy else [])]:
            process.end()
    print(f"{len(WRONG)} things that a client must not see")
    return bool(WRONG)


sys.exit(main())
