"""Real vLLM with the tiny model on loopback, and `replica proxy` before it."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

REPO = "replica-test/tiny-llama"
# What a test asks for that decides nothing here, with the number of words behind it: precision,
# memory and load are those of a tiny model on a CPU, no token of its tokenizer begins a reasoning,
# and what OURS has every server has.
IMMATERIAL = {
    "--dtype": 1,
    "--enable-auto-tool-choice": 0,
    "--enable-chunked-prefill": 0,
    "--enable-server-load-tracking": 0,
    "--enable-tokenizer-info-endpoint": 0,
    "--disable-frontend-multiprocessing": 0,
    "--enforce-eager": 0,
    "--gpu-memory-utilization": 1,
    "--load-format": 1,
    "--max-num-batched-tokens": 1,
    "--max-num-seqs": 1,
    "--port": 1,
    "--reasoning-parser": 1,
    "--structured-outputs-config.backend": 1,
    "--tool-call-parser": 1,
    "--trust-remote-code": 0,
}


def overriding(**config):
    """The words that have the model's configuration say this, and that there is room for as many tokens
    as the longest text of the tests has with a small tokenizer."""
    return ["--hf-overrides", json.dumps({"max_position_embeddings": 16384, **config})]


OURS = [
    "--enforce-eager", "--dtype", "float32", "--max-num-seqs", "16", "--num-gpu-blocks-override", "256",
    *overriding(),
    "--enable-auto-tool-choice", "--tool-call-parser", "hermes",
    "--enable-server-load-tracking", "--enable-tokenizer-info-endpoint",
]


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def material(args):
    """What decides how a server behaves."""
    kept, rest = [], list(args)
    while rest:
        word = rest.pop(0)
        if word in IMMATERIAL:
            del rest[: IMMATERIAL[word]]
        elif word in ("--max-model-len", "--max_model_len") and int(rest[0]) >= 1024:
            del rest[0]
        else:
            kept.append(word)
    return kept


RUNNING = set()


def end_all_on_sigterm():
    """Has SIGTERM end every process that runs: they are in sessions of their own, and hear of no end."""

    def end_all(*_):
        for process in list(RUNNING):
            process.end()
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end_all)


class Process:
    """A process that serves on loopback, and all that it starts."""

    def __init__(self, command, port, path, env=None):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.folder = tempfile.mkdtemp(prefix="served-")
        self.log = pathlib.Path(self.folder, "log")
        with self.log.open("wb") as log:
            # A session of its own: vLLM's engine outlives a killed server.
            self.process = subprocess.Popen(
                command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
        self.ready_path = path
        RUNNING.add(self)

    def wait_until_ready(self, seconds=400):
        """Returns it, once it answers that it is ready; ends it where that does not come."""
        try:
            self._wait(seconds)
        except BaseException:
            self.end()
            raise
        return self

    def _wait(self, seconds):
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(self.url + self.ready_path, timeout=5):
                    return
            except OSError:
                time.sleep(0.3)
        said = self.log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"{self.process.args[:3]} did not become ready:\n{said}")

    def signal(self, which):
        """Sends a signal to it and to all that it started."""
        try:
            os.killpg(self.process.pid, which)
        except ProcessLookupError:
            pass

    def end(self):
        self.signal(signal.SIGKILL)
        self.process.wait()
        RUNNING.discard(self)
        shutil.rmtree(self.folder, ignore_errors=True)


def start_vllm(words, env=None, ours=OURS, port=None):
    """Starts a server of real vLLM."""
    port = port or free_port()
    vllm = os.path.join(os.environ["REPLICA_REAL_VLLM"], "venv/bin/vllm")
    command = [vllm, "serve", *words, *ours, "--host", "127.0.0.1", "--port", str(port)]
    return Process(command, port, "/health", {**(env or {}), "VLLM_WORKER_MULTIPROC_METHOD": "spawn"})


def start_proxy(*servers):
    """Starts a proxy before servers."""
    port = free_port()
    backends = [word for server in servers for word in ("--backend", server.url)]
    command = [os.environ["REPLICA_PROGRAM"], "proxy", "--listen", f"127.0.0.1:{port}", *backends]
    return Process(command, port, "/ready")


class Server:
    """A server of real vLLM, with a proxy before it."""

    def __init__(self, words, env=None, ours=OURS):
        self.vllm = start_vllm(words, env, ours).wait_until_ready()
        try:
            self.proxy = start_proxy(self.vllm).wait_until_ready()
        except BaseException:
            self.vllm.end()
            raise

    def end(self):
        self.proxy.end()
        self.vllm.end()


class Servers:
    """The one server that runs: it is kept until a test wants another."""

    def __init__(self):
        self.key = self.server = None
        self.started = 0

    def get(self, model, args, env, last=()):
        """The server of these arguments: of the tiny model, by the name that the test has for its own.
        The last of them count before ours."""
        env = {name: value for name, value in (env or {}).items() if os.environ.get(name) != value}
        name = [] if model == REPO else ["--served-model-name", model]
        words = [REPO, *name, *material(args)]
        key = (tuple(words), tuple(last), tuple(sorted(env.items())))
        if key != self.key:
            self.end()
            self.started += 1
            self.server = Server(words, env, [*OURS, *last])
            self.key = key
        return self.server

    def end(self):
        if self.server:
            self.server.end()
        self.key = self.server = None
