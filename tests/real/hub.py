#!/usr/bin/env python3
"""A model hub on loopback: as much of the hub's HTTP as `hf download` uses, for one repository.

    hub.py SNAPSHOT REPO COMMIT FOLDER PORT [TOKEN]

Serves the files of SNAPSHOT. With a TOKEN, who does not know it is told that the repository is
gated. Writes each file that is asked for to FOLDER/fetched, and FOLDER/ready once it listens.
"""

import hashlib
import http.server
import json
import os
import sys
import urllib.parse

SNAPSHOT, REPO, COMMIT, FOLDER, PORT = sys.argv[1:6]
TOKEN = sys.argv[6] if len(sys.argv) > 6 else None


def files():
    """The files by their names, each with its size and what the hub knows it by."""
    found = {}
    for name in sorted(os.listdir(SNAPSHOT)):
        with open(os.path.join(SNAPSHOT, name), "rb") as file:
            data = file.read()
        large = name.endswith(".safetensors")
        digest = hashlib.sha256(data) if large else hashlib.sha1(b"blob %d\0" % len(data) + data)
        found[name] = {"size": len(data), "etag": digest.hexdigest(), "large": large}
    return found


FILES = files()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.startswith("/cdn/"):
            return self.send_file(path.removeprefix("/cdn/"))
        if REPO not in path:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        if TOKEN and self.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.refuse(403, "GatedRepo", f"Access to model {REPO} is restricted")
        api = f"/api/models/{REPO}"
        if path == api or path.startswith(f"{api}/revision/"):
            return self.about(path.rpartition("/revision/")[2] if "/revision/" in path else "main")
        if path.startswith(f"{api}/tree/"):
            return self.send_json([self.entry(name) for name in FILES])
        if path.startswith(f"/{REPO}/resolve/"):
            revision, _, name = path.removeprefix(f"/{REPO}/resolve/").partition("/")
            return self.resolve(revision, name)
        return self.refuse(404, "EntryNotFound", "Entry not found")

    def about(self, revision):
        if revision not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        siblings = [{"rfilename": name} for name in FILES]
        return self.send_json(
            {"id": REPO, "modelId": REPO, "sha": COMMIT, "private": False, "gated": bool(TOKEN),
             "downloads": 0, "likes": 0, "tags": [], "siblings": siblings}
        )

    def entry(self, name):
        file = FILES[name]
        entry = {"type": "file", "oid": file["etag"], "size": file["size"], "path": name}
        if file["large"]:
            entry["lfs"] = {"oid": file["etag"], "size": file["size"], "pointerSize": 134}
        return entry

    def resolve(self, revision, name):
        if revision not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if name not in FILES:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        if not FILES[name]["large"]:
            return self.send_file(name, {"X-Repo-Commit": COMMIT})
        file = FILES[name]
        self.send_response(302)
        for key, value in {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": file["size"],
            "X-Linked-ETag": f'"{file["etag"]}"',
            "Location": f"http://{self.headers['host']}/cdn/{name}",
            "Content-Length": 0,
        }.items():
            self.send_header(key, str(value))
        return self.end_headers()

    def send_file(self, name, more=None):
        file = FILES[name]
        with open(os.path.join(SNAPSHOT, name), "rb") as opened:
            data = opened.read()
        begin = 0
        asked = self.headers.get("range", "")
        if asked.startswith("bytes="):
            begin = int(asked.removeprefix("bytes=").partition("-")[0] or 0)
        self.send_response(206 if asked else 200)
        for key, value in {"ETag": f'"{file["etag"]}"', "Accept-Ranges": "bytes", **(more or {})}.items():
            self.send_header(key, value)
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        if self.command == "GET":
            with open(os.path.join(FOLDER, "fetched"), "a") as log:
                print(name, file=log)
            self.wfile.write(data[begin:])

    def send_json(self, value):
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def refuse(self, status, code, message):
        data = json.dumps({"error": message}).encode()
        self.send_response(status)
        for key, value in {
            "X-Error-Code": code,
            "X-Error-Message": message,
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("", int(PORT)), Hub)
open(os.path.join(FOLDER, "ready"), "w").close()
server.serve_forever()
