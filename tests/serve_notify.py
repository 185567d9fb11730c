#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# zoetrope-serve under a service manager: it says when it is ready, lives with a viewer, and stops.
# Usage: serve_notify.py SERVE MODEL
import os, signal, socket, subprocess, sys, tempfile, time, urllib.request

serve, model = map(os.path.realpath, sys.argv[1:3])
with tempfile.TemporaryDirectory() as folder:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(os.path.join(folder, "notify"))
    manager.settimeout(30)
    env = dict(os.environ, NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="900000", XDG_CACHE_HOME=folder)
    env.pop("WATCHDOG_PID", None)
    port = socket.create_server(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % port.getsockname()[1]
    port.close()
    program = subprocess.Popen([serve, "-q", "-m", model, "--listen", address, "--rtsp", "off"], env=env)
    try:
        heard = manager.recv(4096)
        assert heard == b"READY=1", heard
        with urllib.request.urlopen("http://%s/readyz" % address, timeout=10) as answer:    # it does not say so too early
            assert answer.status == 200
        with urllib.request.urlopen("http://%s/s/live.mjpeg" % address, timeout=10) as pictures:
            signs, until = [], time.monotonic() + 3
            while time.monotonic() < until:
                pictures.read(1000)
                manager.settimeout(0.001)
                try:
                    signs.append((time.monotonic(), manager.recv(4096)))
                except TimeoutError:
                    pass
        assert all(text == b"WATCHDOG=1" for _, text in signs), signs
        longest = max(b[0] - a[0] for a, b in zip(signs, signs[1:]))
        assert len(signs) >= 6 and longest < 0.9, (len(signs), longest)
        program.send_signal(signal.SIGTERM)
        manager.settimeout(10)
        while (heard := manager.recv(4096)) == b"WATCHDOG=1":
            pass
        assert heard == b"STOPPING=1", heard
        assert program.wait(20) == 0, program.returncode
    finally:
        program.kill()
