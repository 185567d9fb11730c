#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Steers a session of zoetrope-serve along a curve, keeps what it shows, and says how its frames fared.

Needs nothing but Python. With a server that asks for tokens: ZOETROPE_TOKEN=… steer.py
"""
import argparse
import json
import math
import os
import pathlib
import time
import urllib.error
import urllib.request


class Server:
    def __init__(self, url):
        self.url = url.rstrip('/')
        token = os.environ.get('ZOETROPE_TOKEN')
        self.headers = {'Authorization': f'Bearer {token}'} if token else {}

    def ask(self, method, path, body=None):
        """The reply to a request, still open."""
        headers = dict(self.headers)
        if body is not None:
            headers['Content-Type'] = 'application/json'
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        while True:
            try:
                return urllib.request.urlopen(request, timeout=60)
            except urllib.error.HTTPError as e:
                text = e.read().decode(errors='replace')
                wait = e.headers.get('Retry-After')
                if e.code not in (429, 503) or wait is None:
                    raise SystemExit(f'{method} {path}: {e.code} {text}')
                print(f'busy: {text}; again in {wait} s')
                time.sleep(float(wait))

    def json(self, method, path, body=None):
        with self.ask(method, path, body) as reply:
            text = reply.read()
        return json.loads(text) if text else {}


def pictures(stream):
    """The parts of a multipart stream: (headers, bytes) each."""
    while True:
        line = stream.readline()
        if not line:
            return
        if not line.startswith(b'--'):
            continue
        headers = {}
        while (line := stream.readline().strip()):
            name, _, value = line.decode().partition(': ')
            headers[name] = value
        yield headers, stream.read(int(headers['Content-Length']))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--server', default='http://127.0.0.1:8080')
    p.add_argument('--prompt', default='islands at dawn')
    p.add_argument('--seconds', type=float, default=10)
    p.add_argument('--out', type=pathlib.Path, help='folder for the pictures')
    a = p.parse_args()
    server = Server(a.server)
    model = server.json('GET', '/model')
    made = server.json('POST', '/sessions', {'prompt': a.prompt, 'ttl_s': 30})
    if made.get('ignored'):
        print('the model does not know:', ', '.join(made['ignored']))
    session = f'/sessions/{made["id"]}'
    began, n, turned = time.monotonic(), 0, 0.0
    try:
        with server.ask('GET', f'/s/{made["id"]}.mjpeg') as stream:
            for headers, jpeg in pictures(stream):
                now = time.monotonic() - began
                if now > a.seconds:
                    break
                n += 1
                if a.out:
                    (a.out / f'{int(headers["X-Index"]):06}.jpg').write_bytes(jpeg)
                if model['controls'] and now > turned + 0.25:       # a few times a second are enough
                    turned = now
                    server.json('PATCH', session, {'controls': {model['controls'][0]: math.sin(now)}})
        print(f'{n} pictures in {time.monotonic() - began:.1f} s')
        print('outcomes:', server.json('GET', session)['outcomes'])
    finally:
        server.json('DELETE', session)


if __name__ == '__main__':
    main()
