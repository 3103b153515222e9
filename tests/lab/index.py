#!/usr/bin/python3
"""A package index on loopback: PEP 503 pages, and wheels that stand for vLLM and torch.

    index.py FOLDER PORT

serves `/pypi/`, `/cu130/` and `/pytorch/` on all addresses. FOLDER/fetched gets a line for each wheel
that somebody fetches; while there is a FOLDER/slow, a wheel takes as many seconds as it says, and while
there is a FOLDER/status, a page answers that.
"""

import base64
import contextlib
import hashlib
import http.server
import io
import os
import random
import sys
import time
import urllib.parse
import zipfile

TORCH = """from .version import __version__, cuda
class version:
    cuda = cuda
"""
COMMAND = """import os, sys
def main():
    os.execv("/opt/lab/vllm", ["vllm", *sys.argv[1:]])
"""
# Enough files that unpacking them takes a moment, and can be interrupted.
FILES = 3000


def wheel(name, version, files, requires=(), command=None):
    """Returns the file name and the bytes of a wheel."""
    info = f"{name}-{version}.dist-info"
    heads = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {it}" for it in requires)]
    files = dict(files)
    files[f"{info}/METADATA"] = "\n".join(["Metadata-Version: 2.1", *heads, "", "Version: 9 is told\n"])
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if command:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{command}\n"
    record = ""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(content)}\n"
            archive.writestr(path, content)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return f"{name}-{version}-py3-none-any.whl", out.getvalue()


def vllm(version):
    files = {"vllm/__init__.py": "import torch\n", "vllm/cli.py": COMMAND}
    return wheel("vllm", version, files, ["torch==2.9.0"], "vllm = vllm.cli:main")


def torch(version, cuda):
    """The record of PyPI's own build does not name it."""
    plain = version.split("+")[0]
    files = {"torch/__init__.py": TORCH}
    files |= {f"torch/kernels/{number}.py": f"number = {number}\n" for number in range(FILES)}
    files["torch/lib.bin"] = random.Random(version).randbytes(8_000_000)
    built = version if cuda == "13.0" else f"{plain}+cu128"
    files["torch/version.py"] = f"__version__ = '{built}'\ncuda: str = '{cuda}'\n"
    return wheel("torch", version, files)


def company(name, version, needs):
    files = {f"{name}/__init__.py": "", f"{name}/version.py": f"__version__ = '{version}'\n"}
    return wheel(name, version, files, [f"torch=={needs}"])


INDEXES = {
    "pypi": [
        vllm("0.12.0"),
        vllm("0.13.0"),
        torch("2.9.0", "12.8"),
        torch("2.9.1", "12.8"),
        company("torchvision", "0.24.0", "2.9.0"),
        company("torchvision", "0.24.1", "2.9.1"),
        wheel("toolkit", "1.0", {"toolkit.py": ""}, ["torch==2.9.0"]),
        wheel("toolkit", "2.0", {"toolkit.py": ""}, ["torch>=2.9"]),
    ],
    "cu130": [vllm("0.13.0+cu130")],
    "pytorch": [torch("2.9.1+cu130", "13.0"), company("torchvision", "0.24.1+cu130", "2.9.1")],
}


class Index(http.server.BaseHTTPRequestHandler):
    folder = ""

    def do_GET(self):
        parts = [urllib.parse.unquote(part) for part in self.path.strip("/").split("/")]
        wheels = dict(INDEXES.get(parts[0], []))
        if len(parts) == 3 and parts[2] in wheels:
            return self.send_wheel(parts[2], wheels[parts[2]])
        named = [it for it in wheels if it.startswith(f"{parts[-1]}-")]
        if len(parts) != 2 or not named:
            return self.send_error(404)
        with contextlib.suppress(FileNotFoundError), open(f"{self.folder}/status") as file:
            return self.send_error(int(file.read()))
        links = "".join(f'<a href="{urllib.parse.quote(it)}">{it}</a>\n' for it in named)
        self.answer("text/html", f"<!DOCTYPE html><html><body>\n{links}</body></html>".encode())

    def do_HEAD(self):
        self.do_GET()

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.send_slowly(body)

    def send_wheel(self, name, body):
        if self.command == "GET":
            with open(f"{self.folder}/fetched", "a") as file:
                file.write(f"{name}\n")
        self.answer("application/octet-stream", body)

    def send_slowly(self, body):
        try:
            with open(f"{self.folder}/slow") as file:
                seconds = float(file.read())
        except FileNotFoundError:
            seconds = 0
        for at in range(0, len(body), len(body) // 20 + 1):
            if len(body) > 100_000:
                time.sleep(seconds / 20)
            with contextlib.suppress(ConnectionError):  # whoever fetched it may be killed
                self.wfile.write(body[at : at + len(body) // 20 + 1])

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    Index.folder = sys.argv[1]
    server = http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Index)
    open(os.path.join(Index.folder, "ready"), "w").close()
    server.serve_forever()
