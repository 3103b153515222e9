#!/usr/bin/env python3
"""curl, as it is typed.

    curl.py URL
"""

import json
import re
import subprocess
import sys

from facts import note_all

URL = sys.argv[1]
BODY = {"model": "tiny", "prompt": "hello world", "temperature": 0, "max_tokens": 8}
JSON = ["-H", "content-type: application/json"]
# What names the moment, or who stands where.
PASSING = re.compile(r'"(id|created|request_id)":("[^"]*"|\d+)|\\?/[^" ]*site-packages[^" ]*|File .*')


def curl(path, *words, body=None):
    """Its exit code, and the answer without what names the moment."""
    told = "\n%{http_code} %{http_version} %{content_type}"
    given = ["--data-binary", "@-", *JSON] if body is not None else []
    done = subprocess.run(
        ["curl", "-s", "--max-time", "60", "-w", told, *given, *words, f"{URL}{path}"],
        input=body, capture_output=True,
    )
    text, _, told = done.stdout.decode(errors="replace").rpartition("\n")
    status, version, kind = told.split(" ", 2)
    facts = {"exit": done.returncode, "status": status, "version": version, "type": kind}
    if "text/event-stream" in kind:
        return facts | stream(text)
    return facts | {"body": PASSING.sub("", text)[:400]}


def stream(text):
    """However its text was cut into events: two streams of a live engine never are alike."""
    events = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
    documents = [json.loads(event) for event in events if event.startswith("{")]
    pieces = [choice.get("text", "") for it in documents for choice in it["choices"]]
    return {"text": "".join(pieces), "last": events[-1] if events else ""}


def completion(*words, **more):
    return curl("/v1/completions", *words, body=json.dumps(BODY | more).encode())


def headers_of(path, *words):
    """The headers of an answer that has nothing else."""
    done = subprocess.run(["curl", "-s", "--max-time", "60", "-D", "-", "-o", "/dev/null", *words, f"{URL}{path}"],
                          capture_output=True)
    lines = done.stdout.decode().lower().splitlines()
    named = [line for line in lines if line.startswith(("http/", "access-control-", "allow", "content-length"))]
    return {"exit": done.returncode, "headers": sorted(named)}


LONG = "x" * 2_000_000
PREFLIGHT = ["-X", "OPTIONS", "-H", "origin: http://there", "-H", "access-control-request-method: POST"]

note_all(
    {
        "1.1": completion,
        "1.1, streamed": lambda: completion("-N", stream=True),
        "1.0": lambda: completion("--http1.0"),
        "1.0, streamed": lambda: completion("--http1.0", "-N", stream=True),
        "Expect": lambda: completion("-H", "Expect: 100-continue"),
        "chunked upload": lambda: completion("-H", "Transfer-Encoding: chunked"),
        "chunked upload, streamed": lambda: completion("-H", "Transfer-Encoding: chunked", "-N", stream=True),
        "a body of 2 MB": lambda: completion(user=LONG),
        "a body of 2 MB, Expect, chunked": lambda: completion("-H", "Transfer-Encoding: chunked", "-H",
                                                               "Expect: 100-continue", user=LONG),
        "connection: close": lambda: completion("-H", "connection: close"),
        "two on one connection": lambda: curl("/version", f"{URL}/version", "-o", "/dev/null"),
        "upgrade to h2": lambda: completion("--http2"),
        "h2c": lambda: completion("--http2-prior-knowledge"),
        "h2c, streamed": lambda: completion("--http2-prior-knowledge", "-N", stream=True),
        "gzip is taken": lambda: completion("--compressed"),
        "GET /v1/models": lambda: curl("/v1/models"),
        "GET /v1/models/": lambda: headers_of("/v1/models/"),
        "GET /version": lambda: curl("/version"),
        "GET /health": lambda: curl("/health"),
        "GET /ping": lambda: curl("/ping"),
        "GET /nope": lambda: curl("/nope"),
        "GET /v1/completions": lambda: curl("/v1/completions"),
        "HEAD /health": lambda: headers_of("/health", "-I"),
        "HEAD /v1/models": lambda: headers_of("/v1/models", "-I"),
        "OPTIONS, from elsewhere": lambda: headers_of("/v1/completions", *PREFLIGHT),
        "OPTIONS": lambda: headers_of("/v1/completions", "-X", "OPTIONS"),
        "no JSON": lambda: curl("/v1/completions", body=b"{nonsense"),
        "nothing": lambda: curl("/v1/completions", body=b""),
        "another type": lambda: curl("/v1/completions", "-H", "content-type: text/plain", body=b"{}"),
        "tokenize": lambda: curl("/tokenize", body=json.dumps({"model": "tiny", "prompt": "hello"}).encode()),
        "detokenize": lambda: curl("/detokenize", body=json.dumps({"model": "tiny", "tokens": [40, 41]}).encode()),
    }
)
