"""A plugin of pytest: runs each of vLLM's server tests direct, and then through `replica proxy`.

A test that passes direct and fails through the proxy is a difference. Those that are meant stand in
`differences.txt`; another one fails the run, and so does one that is no longer there.
"""

import os
import pathlib

import huggingface_hub
import pytest
import tests.utils
from servers import Servers, end_all_on_sigterm, overriding

WAYS = ("direct", "proxy")
SERVERS = Servers()
NOW = {"way": "direct", "module": ""}
OUTCOMES = {}
WHY = {}
# What a snapshot of any other repository is here: vLLM's tests ask for nothing but adapters.
ADAPTER = os.environ["REPLICA_ADAPTER"]
# What the servers of modules are told whose own models say that they do not generate. The tiny one
# has no head that classifies in its files: it gets one of random weights, as its others are.
POOLING = ["--runner", "pooling"]
CLASSIFYING = [*POOLING, "--convert", "classify", "--load-format", "dummy"]
AS_THEIR_MODELS = {
    "entrypoints/pooling/classify/test_online.py": CLASSIFYING,
    "entrypoints/pooling/pooling/test_online.py": [*CLASSIFYING, *overriding(num_labels=1)],
    "entrypoints/pooling/score/test_online_rerank.py": POOLING,
    "entrypoints/pooling/score/test_online_score.py": POOLING,
}
# Three streams of 50 tokens are to come in unlike numbers of pieces: they do where a slow server puts two
# tokens into one, and direct it passed 2 of 4 times.
BY_CHANCE = {"v1/entrypoints/openai/test_completion.py::test_parallel_streaming"}


class BothWays(tests.utils.RemoteOpenAIServer):
    """What a test believes to be its server: it is at two addresses, of which one counts now."""

    def __init__(self, model, vllm_serve_args, *, env_dict=None, override_hf_configs=None, **_):
        self.uds = None
        self.host = "127.0.0.1"
        self.show_hidden_metrics = any("show-hidden-metrics" in word for word in vllm_serve_args)
        last = overriding(**override_hf_configs) if override_hf_configs else []
        last += AS_THEIR_MODELS.get(NOW["module"], [])
        self.server = SERVERS.get(model, vllm_serve_args, env_dict, last)

    def __exit__(self, *_):
        pass

    @property
    def port(self):
        return (self.server.vllm if NOW["way"] == "direct" else self.server.proxy).port


def snapshot_download(repo_id, **_):
    return ADAPTER


tests.utils.RemoteOpenAIServer = BothWays
huggingface_hub.snapshot_download = snapshot_download
end_all_on_sigterm()


def pytest_collection_modifyitems(config, items):
    """Leaves out what passes or fails by chance, and tells nothing of who served it."""
    by_chance = [it for it in items if it.nodeid.partition("[")[0].removeprefix("tests/") in BY_CHANCE]
    config.hook.pytest_deselected(items=by_chance)
    items[:] = [it for it in items if it not in by_chance]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    NOW["module"] = item.nodeid.partition("::")[0].removeprefix("tests/")


@pytest.fixture(autouse=True, params=WAYS)
def way(request):
    NOW["way"] = request.param
    yield request.param
    NOW["way"] = "direct"


def pytest_runtest_makereport(item, call):
    """Notes the worst of a test's three parts."""
    way = item.callspec.params["way"]
    parts = item.callspec.id.split("-")
    parts.remove(way)
    name = item.nodeid.partition("[")[0].removeprefix("tests/")
    name += f"[{'-'.join(parts)}]" if parts else ""
    seen = OUTCOMES.setdefault(name, {way: "passed" for way in WAYS})
    if call.excinfo is not None and seen[way] == "passed":
        seen[way] = "skipped" if call.excinfo.errisinstance(pytest.skip.Exception) else "failed"
        WHY[name, way] = call.excinfo.exconly().splitlines()[0][:200]


def named_differences():
    """The tests that are known to differ."""
    text = (pathlib.Path(__file__).parent / "differences.txt").read_text()
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def pytest_sessionfinish(session):
    SERVERS.end()
    named = set(named_differences())
    differ = {name for name, seen in OUTCOMES.items() if seen["direct"] == "passed" and seen["proxy"] == "failed"}
    better = {name for name, seen in OUTCOMES.items() if seen["direct"] == "failed" and seen["proxy"] == "passed"}
    count = {way: sum(seen[way] == "passed" for seen in OUTCOMES.values()) for way in WAYS}
    lines = [
        f"{len(OUTCOMES)} tests of vLLM's on {SERVERS.started} servers: "
        f"{count['direct']} pass direct, {count['proxy']} through the proxy"
    ]
    lines += [f"differs, as named: {name}" for name in sorted(differ & named)]
    lines += [f"passes through the proxy alone: {name}" for name in sorted(better)]
    new = sorted(differ - named)
    lines += [f"error: fails through the proxy alone: {name}: {WHY[name, 'proxy']}" for name in new]
    ran = {name for name in named if name in OUTCOMES}
    lines += [f"error: is named as a difference, and is none: {name}" for name in sorted(ran - differ)]
    print("\n" + "\n".join(lines))
    is_bad = bool(differ - named or ran - differ or not count["direct"])
    session.exitstatus = pytest.ExitCode(1 if is_bad else 0)
