#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A hub on loopback, with repositories that misbehave each in their own way: hub_server.py LOG
   Prints its port. LOG gets a line per request: the port's number (0, 1), path, range, authorization."""
import hashlib
import http.server
import json
import sys
import threading
import time

BIG = bytes(i * 7 % 251 for i in range(700001))
FILES = {"config.json": b'{"dim": 64}\n', "weights/big model.bin": BIG, "empty.txt": b""}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
log = open(sys.argv[1], "w", buffering=1)
seen, other = {}, 0


def listing(repo):
    files = [{"rfilename": name, "size": len(data)} for name, data in FILES.items()]
    files[1]["lfs"] = {"sha256": hashlib.sha256(BIG).hexdigest(), "size": len(BIG), "pointerSize": 134}
    if repo == "evil":
        files.append({"rfilename": "../outside", "size": 1})
    if repo == "nosize":
        files.append({"rfilename": "more"})
    return {"id": "o/" + repo, "sha": COMMIT, "siblings": files}


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send(self, data, start, cut=None):
        status = 206 if start else 200
        self.send_response(status)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:start + cut] if cut else data[start:])
        if cut:
            self.wfile.flush()
            self.close_connection = True

    def file(self, repo, name):
        data, asked = FILES[name], self.headers.get("Range", "")
        start = int(asked.split("=")[1].split("-")[0]) if asked else 0
        seen[repo, name] = seen.get((repo, name), 0) + 1
        if len(data) < 1000:
            return self.send(data, 0)
        if repo in ("cut", "norange") and seen[repo, name] == 1:
            return self.send(data, start, 300000)
        if repo == "norange":
            return self.send(data, 0)
        if repo == "stuck":
            return self.send(data, start, 250000) if seen[repo, name] == 1 else self.reply(503)
        if repo == "slow":
            self.send(data, start, 250000)
            return time.sleep(60)
        if repo == "wrong":
            return self.send(b"x" + data[1:], start)
        if repo == "long":
            return self.send(data + b"more", start)
        if repo == "redirect" and self.server.server_port != other:
            return self.reply(302, Location=f"http://127.0.0.1:{other}{self.path}")
        self.send(data, start)

    def do_GET(self):
        log.write(f"{int(self.server.server_port == other)} {self.path} {self.headers.get('Range', '-')} "
                  f"{self.headers.get('Authorization', '-')}\n")
        part = self.path.split("?")[0].replace("%20", " ").split("/")
        repo = part[4] if part[1] == "api" else part[2]
        if repo == "private" and self.headers.get("Authorization") != "Bearer secret":
            return self.reply(401, b"no")
        if repo == "gone":
            return self.reply(404, b"not here")
        if repo == "noise":
            return self.reply(200, b"<html>")
        if part[1] == "api":
            return self.reply(200, json.dumps(listing(repo)).encode(), Content_Type="application/json")
        self.file(repo, "/".join(part[5:]))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):         # a client that went away
        pass


servers = [Server(("127.0.0.1", 0), Hub) for _ in range(2)]
other = servers[1].server_port
threading.Thread(target=servers[1].serve_forever, daemon=True).start()
print(servers[0].server_port, flush=True)
servers[0].serve_forever()
