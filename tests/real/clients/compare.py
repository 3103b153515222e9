#!/usr/bin/env python3
"""Holds what each client notes direct against what it notes through `replica proxy`, before real vLLM.

    compare.py CLIENTS

A thing that differs and is not in `differences.txt` fails this, and so does one that is there and does
not differ.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

from servers import REPO, Server, end_all_on_sigterm

HERE = pathlib.Path(__file__).parent
CLIENTS = pathlib.Path(sys.argv[1])
MODEL = os.environ["REPLICA_SNAPSHOT"]


def programs():
    """Each client's command, to be followed by the addresses."""
    python = CLIENTS / "python/bin/python"
    return {
        "openai-python": [python, HERE / "openai_python.py", "URL", "SERVER"],
        "openai-node": ["node", CLIENTS / "node/openai_node.mjs", "URL", "SERVER"],
        "LangChain": [python, HERE / "langchain_client.py", "URL"],
        "curl": [python, HERE / "curl.py", "URL"],
        "benchmarks": [python, HERE / "benchmarks.py", "URL", MODEL, CLIENTS],
    }


def noted(command, url, server):
    """What a client's program prints."""
    words = [str({"URL": url, "SERVER": server}.get(word, word)) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, timeout=1200)
    if done.returncode:
        sys.exit(f"error: {words[1]} ended with {done.returncode}")
    return json.loads(done.stdout)


def named_differences():
    """The things that are known to differ."""
    lines = [line.strip() for line in (HERE / "differences.txt").read_text().splitlines()]
    return {line for line in lines if line and not line.startswith("#")}


def failed(facts):
    return isinstance(facts, dict) and "words" in facts


def main():
    end_all_on_sigterm()
    server = Server([REPO, "--served-model-name", "tiny", "--max-model-len", "8192"])
    direct, proxied = server.vllm.url, server.proxy.url
    named, bad, compared = named_differences(), [], 0
    try:
        for client, command in programs().items():
            if shutil.which(command[0]) is None or not pathlib.Path(command[1]).exists():
                print(f"{client:14} SKIPPED: it could not be fetched; the reason stands above")
                continue
            expected, seen = (noted(command, url, direct) for url in (direct, proxied))
            for item, facts in expected.items():
                compared += 1
                name = f"{client}: {item}"
                differs = facts != seen.get(item)
                word = "differs" if differs else "same"
                if failed(facts):
                    word = f"{word}, and fails direct: {facts['words'][-100:]!r}"
                print(f"{client:14} {item:45} {word}")
                if differs:
                    print(f"    direct: {json.dumps(facts)[:1000]}\n    proxy:  {json.dumps(seen.get(item))[:1000]}")
                if differs != (name in named):
                    bad.append(f"{name}: " + ("differs" if differs else "is named as a difference, and is none"))
    finally:
        server.end()
    print(f"{compared} things compared, {len(named)} named differences")
    for words in bad:
        print(f"error: {words}")
    return bool(bad) or not compared


sys.exit(main())
