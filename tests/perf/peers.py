"""The proxies that ours is held against, each with a command line that puts it before two backends."""

import json
import os
import shutil
import signal
import socket
import subprocess

from common import ROOT, replica

VENVS = os.path.join(ROOT, "target", "peers")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def end(process):
    """Ends a proxy with all its children; it was started in a session of its own."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def said(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()


class Ours:
    """That of a release, or another build of it, which has a name of its own."""

    def __init__(self, name="replica", binary=None):
        self.name, self.binary = name, binary

    def why_absent(self):
        return None

    def version(self):
        return said([self.binary or replica(), "--version"]).split()[-1]

    def command(self, folder, port, backends):
        state = os.path.join(folder, "state.json")
        with open(state, "w") as file:
            json.dump({"config": {"generation": 1, "policy": "round_robin", "backends": [
                {"name": f"b{at}", "authority": f"127.0.0.1:{where}", "nonce": nonce}
                for at, (where, nonce) in enumerate(backends)]}}, file)
        return [self.binary or replica(), "proxy", "--port", str(port), "--control", "control.sock", "--state", state]


class Nginx:
    """A worker for each core, kept connections on both sides, nothing written to disk."""

    name = "nginx"

    def why_absent(self):
        return None if shutil.which("nginx") else "nginx is not installed"

    def version(self):
        return said(["nginx", "-v"]).rpartition("/")[2]

    def command(self, folder, port, backends):
        paths = "".join(f"{kind}_temp_path {folder}/{kind};\n"
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        servers = "".join(f"server 127.0.0.1:{where};\n" for where, _ in backends)
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w") as file:
            file.write(
                f"daemon off; worker_processes auto;\n"
                f"pid {folder}/pid; error_log stderr crit;\n"
                "events { worker_connections 16384; }\n"
                f"http {{ access_log off; keepalive_requests 100000000; client_max_body_size 64m;\n"
                f"client_body_buffer_size 1m;\n{paths}"
                f"upstream backends {{ {servers} keepalive 4096; keepalive_requests 100000000; }}\n"
                f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{\n"
                "proxy_pass http://backends; proxy_http_version 1.1; proxy_set_header Connection '';\n"
                "proxy_buffering off; } } }\n")
        return ["nginx", "-p", folder, "-c", path]


class HaProxy:
    """As many threads as there are cores, which is what it does unasked."""

    name = "HAProxy"

    def why_absent(self):
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def version(self):
        return said(["haproxy", "-v"]).split()[2]

    def command(self, folder, port, backends):
        servers = "".join(f"  server s{where} 127.0.0.1:{where}\n" for where, _ in backends)
        path = os.path.join(folder, "haproxy.cfg")
        with open(path, "w") as file:
            file.write(
                "global\n  maxconn 16384\n  no strict-limits\n"
                "defaults\n  mode http\n  timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n"
                "  http-reuse always\n"
                f"frontend clients\n  bind 127.0.0.1:{port} backlog 4096\n  default_backend backends\n"
                f"backend backends\n  balance roundrobin\n{servers}")
        return ["haproxy", "-db", "-f", path]


class Router:
    """One from PyPI, in a virtual environment of its own, with what it does unasked."""

    def __init__(self, name, number, *launch):
        self.name, self.number, self.launch = name, number, launch
        self.venv = os.path.join(VENVS, f"{name}-{number}")

    def version(self):
        return self.number

    def why_absent(self):
        """Installs it where it is not yet."""
        done = os.path.join(self.venv, "installed")
        if os.path.exists(done):
            return None
        shutil.rmtree(self.venv, ignore_errors=True)
        python = os.path.join(self.venv, "bin", "python")
        for command in (["python3", "-m", "venv", self.venv],
                        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                         f"{self.name}=={self.number}"]):
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
            except subprocess.TimeoutExpired:
                return "its download takes more than ten minutes"
            except (OSError, subprocess.CalledProcessError) as error:
                words = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
                return words[-1] if words else "it cannot be installed"
        open(done, "w").close()
        return None

    def command(self, folder, port, backends):
        urls = [f"http://127.0.0.1:{where}" for where, _ in backends]
        return [os.path.join(self.venv, "bin", self.launch[0]), *self.launch[1:],
                "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin",
                "--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port()),
                "--worker-urls", *urls]


ALL = [Nginx(), HaProxy(), Ours(), Router("vllm-router", "0.1.17", "vllm-router"),
       Router("sglang-router", "0.3.2", "sglang-router", "launch"),
       Router("smg", "1.13.0", "smg", "launch")]
