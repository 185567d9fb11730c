#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Operating zoetrope-serve: its configuration file, SIGHUP, SIGTERM, descriptors, what its log says and what it does not.
# Usage: serve_operate.py SERVE MODEL MAKE_MODEL [WHEP_VIEW]
import atexit, http.client, json, os, re, resource, shutil, signal, ssl, subprocess, sys, tempfile, threading, time

serve, model = os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2])
make_model = os.path.realpath(sys.argv[3])
view = os.path.realpath(sys.argv[4]) if len(sys.argv) > 4 else None
failed = 0
os.environ['ASAN_OPTIONS'] = os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'
os.environ['ZOETROPE_MODEL'] = model
for name in [n for n in os.environ if n == 'ZOETROPE_LOG']:
    del os.environ[name]


def check(good, what):
    global failed
    if not good:
        print('FAIL:', what[:500], flush=True)
        failed = 1


def write(name, content):
    with open(name, 'w') as f:
        f.write(content if isinstance(content, str) else json.dumps(content))
    return name


def run(*arguments, **more):
    return subprocess.run([serve, *arguments], capture_output=True, text=True, timeout=60, **more)


# ---- --config and --check-config

def good_value(name, meta):
    special = {'steps': '1-2', 'udp-ports': '20000-20100', 'whip': 'http://127.0.0.1:1/whip', 'log-format': 'json',
               'listen': '127.0.0.1:0', 'rtsp': '127.0.0.1:0', 'ice-server': 'stun:127.0.0.1:3478', 'device': 'cpu',
               'precision': 'bf16', 'kv': 'int8', 'token-file': 'tokens', 'whip-token-file': 'token', 'tls-cert': 'cert',
               'tls-key': 'key', 'model': model, 'batch-dir': 'clips', 'log-sessions': 'logs', 'trace': 'trace.json',
               'size': '64x48', 'bitrate': '800k', 'batch-quota': '1G'}
    return special.get(name, True if meta is None else 5 if meta == 'N' else 'x')


def test_every_key():
    options = re.findall(r'^ +(?:-\w, +)?--([a-z-]+)(?: (\S+))? ', run('--help').stdout, re.M)
    check(len(options) > 35, f'only {len(options)} options in --help')
    table = {n: m or None for n, m in options if n not in ('config', 'check-config', 'help', 'version')}
    whole = {n: good_value(n, m) for n, m in table.items()}
    r = run('--config', write('all.json', {'version': 1, **whole}), '--check-config')
    check(r.returncode == 0 and r.stdout == 'all.json: good\n' and not r.stderr, f'every option: {r}')
    for name, meta in table.items():
        companion = {'tls-cert': 'tls-key', 'tls-key': 'tls-cert'}.get(name)
        one = {name: whole[name], **({companion: whole[companion]} if companion else {})}
        r = run('--config', write('one.json', one), '--check-config')
        check(r.returncode == 0 and not r.stderr, f'{one}: {r}')
        for bad in [[1]] + ([] if isinstance(whole[name], str) and meta in ('TEXT', 'DIR', 'FILE', 'HOST:PORT', 'ORIGINS', 'IP',
                                                                          'URLS', 'URL', 'A-B') else ['!']):
            r = run('--config', write('bad.json', {name: bad}), '--check-config')
            check(r.returncode == 65 and r.stderr.count('\n') == 1 and f'bad.json: ' in r.stderr and name in r.stderr,
                  f'{name}: {bad}: {r}')


def test_bad_files():
    table = [('{"fsp": 5}', 65, 'unknown key fsp'), ('{"check-config": true}', 65, 'unknown key check-config'),
             ('{"config": "x"}', 65, 'unknown key config'), ('{"help": true}', 65, 'unknown key help'),
             ('{"fps": 5, "fps": 6}', 65, 'given twice: fps'), ('{"fps": 61}', 65, 'fps: "61"'), ('{"fps": 2.5}', 65, 'fps: "2.5"'),
             ('[]', 65, 'not a JSON object'), ('', 65, 'line 1: not JSON'), ('{\n"fps": 5,\n}', 65, 'line 3: not JSON'),
             ('{} x', 65, 'not JSON'), ('{"version": 2}', 65, 'version 2 is newer than this program'),
             ('{"version": "1"}', 65, 'version: not a whole number'), ('{"version": 0.5}', 65, 'version: not a whole number'),
             ('{"a\\nb": 1}', 65, 'unknown key a b'), ('{"' + 'k' * 3000 + '": 1}', 65, 'unknown key kkk'),
             ('{"token-file": "none"}', 66, 'none: No such file'), ('{"token-file": "notokens"}', 65, 'notokens: line 1'),
             ('{"tls-cert": "cert"}', 64, 'belong together'), ('{"listen": "0.0.0.0:0"}', 64, '--token-file is needed'),
             ('{"tls-cert": "cert", "tls-key": "otherkey"}', 65, 'otherkey'), ('{"model": "none"}', 66, 'none: No such file'),
             ('{"log-sessions": "none"}', 73, 'none: No such file'), ('{"prompt": " "}', 64, 'prompt: empty'),
             ('{"rtsp": "off", "listen": "off"}', 64, 'nothing to serve')]
    for text, code, line in table:
        environment = {k: v for k, v in os.environ.items() if k != 'ZOETROPE_MODEL'}       # it comes before the file
        r = run('--config', write('bad.json', text), '--check-config', env=environment)
        named = code != 65 or 'bad.json: ' in r.stderr or 'notokens' in r.stderr or 'TLS' in r.stderr
        check(r.returncode == code and r.stderr.count('\n') == 1 and line in r.stderr and named and not r.stdout,
              f'{text[:60]}: {r}')
    r = run('--config', 'none.json', '--check-config')
    check(r.returncode == 66 and r.stderr.count('\n') == 1 and 'none.json' in r.stderr, f'a missing file: {r}')
    r = run('--log-format', 'json', '--config', write('bad.json', '{"fps": "\\"x\\""}'))
    check(r.returncode == 65 and 'bad.json' in json.loads(r.stderr)['message'], f'refused in JSON: {r}')
    r = run('--fps', '5', '--config', write('bad.json', '{"fps": 99}'), '--check-config')
    check(r.returncode == 65, f'what the command line has said is judged too: {r}')


# ---- a server that runs

class Server:
    def __init__(self, *arguments, soft=None):
        self.log = tempfile.mktemp(dir='.')
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))) if soft else None
        with open(self.log, 'w') as f:
            self.p = subprocess.Popen([serve, *arguments], stderr=f, stdout=subprocess.DEVNULL, preexec_fn=limit, start_new_session=True)
        atexit.register(self.p.kill)
        self.port = None
        for _ in range(1200):
            m = re.search(r'serving (https?)://[^ ]*:(\d+)/', self.text())
            if m or self.p.poll() is not None:
                break
            time.sleep(0.05)
        if 'built without' in self.text() or 'no backend' in self.text():
            print(self.text())
            self.p.kill()
            sys.exit(77)
        check(m, f'it does not start: {self.text()}')
        if not m:
            sys.exit(1)
        self.tls, self.port = m[1] == 'https', int(m[2])

    def text(self):
        with open(self.log) as f:
            return f.read()

    # Waits until the log has said it once more than `before` times.
    def says(self, what, before=0, seconds=20):
        until = time.time() + seconds
        while time.time() < until:
            if self.text().count(what) > before:
                return True
            time.sleep(0.02)
        check(False, f'the log does not say "{what}": {self.text()[-400:]}')

    def reload(self, what):
        before = self.text().count(what)
        self.p.send_signal(signal.SIGHUP)
        self.says(what, before)

    def connect(self):
        if not self.tls:
            return http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection('127.0.0.1', self.port, timeout=30, context=context)

    def ask(self, path, method='GET', body=None, token=None, **headers):
        c = self.connect()
        if token:
            headers['Authorization'] = 'Bearer ' + token
        if body is not None:
            body, headers['Content-Type'] = json.dumps(body), 'application/json'
        try:
            c.request(method, path, body, headers)
            if self.tls:
                self.peer = c.sock.getpeercert(True)
            r = c.getresponse()
            return r.status, r.read().decode(errors='replace')
        except (OSError, http.client.HTTPException) as e:
            return type(e).__name__, ''
        finally:
            c.close()

    def end(self, number=signal.SIGTERM, within=5):
        began = time.time()
        self.p.send_signal(number)
        code = self.p.wait(60)
        took = time.time() - began
        check(code == 0 and took < within, f'ended with {code} after {took:.1f} s: {self.text()[-300:]}')
        return took


# Counts the pictures of a stream that stays open.
class Watcher(threading.Thread):
    def __init__(self, server, token=None):
        super().__init__(daemon=True)
        self.server, self.token, self.pictures, self.ended = server, token, 0, False
        self.start()
        self.more(0)

    def run(self):
        c = self.server.connect()
        c.request('GET', '/s/live.mjpeg', headers={'Authorization': 'Bearer ' + self.token} if self.token else {})
        r = c.getresponse()
        try:
            while True:
                line = r.readline()
                if not line:
                    break
                self.pictures += line.startswith(b'X-Index')
        except (OSError, http.client.HTTPException):
            pass
        self.ended = True

    # Five more pictures come than `before`.
    def more(self, before):
        until = time.time() + 60
        while self.pictures < before + 5 and time.time() < until and not self.ended:
            time.sleep(0.02)
        return self.pictures >= before + 5


def test_reload():
    write('tokens', 'control first-control-token\nview first-view-token\n')
    settings = {'version': 1, 'listen': '127.0.0.1:0', 'rtsp': '127.0.0.1:0', 'token-file': 'tokens', 'tls-cert': 'cert',
                'tls-key': 'key', 'max-sessions': 1, 'max-viewers': 9, 'test-pattern': True, 'fps': 7}
    s = Server('--config', write('serve.json', settings), '--fps', '9')
    first, second = 'first-control-token', 'second-control-token'
    code, text = s.ask('/sessions/live', token=first)
    check(code == 200 and json.loads(text)['fps'] == 9, f'the command line wins: {code} {text}')
    watcher = Watcher(s, first)
    certificate = s.peer

    def made(token=first):
        return s.ask('/sessions', 'POST', {'prompt': 'sea'}, token)[0]
    check((made(), made()) == (201, 503), 'one session at most')

    # everything at once
    write('tokens', f'control {second}\n')
    for name in ('cert', 'key'):
        shutil.copy(name, 'old' + name)
        shutil.copy('other' + name, name)
    write('serve.json', {**settings, 'max-sessions': 2, 'max-viewers': 8, 'seed': 3, 'fps': 8})
    seen = watcher.pictures
    s.reload('reload: 1 tokens, 2 sessions and 8 viewers')
    check('"seed" has changed: it takes a restart' in s.text(), 'what takes a restart is not named')
    check('"fps" has changed' not in s.text(), 'the command line still wins')
    check(s.ask('/model', token=first)[0] == 401 and s.ask('/model', token=second)[0] == 200, 'the tokens')
    check(s.peer != certificate, 'the certificate')
    check((made(second), made(second)) == (201, 503), 'two sessions at most')
    check(watcher.more(seen), 'a viewer is dropped')

    # nothing of a bad one, whichever part is bad
    certificate = s.peer
    bad = [('serve.json', '{"fsp": 1}', 'unknown key fsp'), ('serve.json', '{', 'not JSON'), ('tokens', 'control short\n', 'tokens: line 1'),
           ('key', open('oldkey').read(), 'TLS'), ('cert', 'no certificate', 'TLS'), ('serve.json', json.dumps({**settings, 'token-file': None}), 'token-file')]
    write('serve.json', {**settings, 'max-sessions': 3})
    for name, content, why in bad:
        was = open(name).read()
        write(name, content)
        before = s.text().count('nothing is taken of it')
        s.reload(why)
        s.says('nothing is taken of it', before)
        check(s.ask('/model', token=second)[0] == 200 and s.peer == certificate and made(second) == 503, f'{name}: {why}: taken in part')
        write(name, was)
    seen = watcher.pictures
    check(watcher.more(seen), 'a viewer is dropped by a bad file')
    write('tokens', f'control {second}\nview a-second-viewer\nview a-third-viewer\n')
    s.reload('reload: 3 tokens, 3 sessions')
    check([s.ask('/model', token=t)[0] for t in (second, 'a-second-viewer', 'a-third-viewer', first)] == [200, 200, 200, 401], 'more tokens')
    check(s.ask('/sessions', 'POST', {'prompt': 'sea'}, 'a-third-viewer')[0] == 403, 'who may view may not make sessions')
    check(made(second) == 201, 'three sessions at most')

    check(s.ask('/readyz')[0] == 200, 'not ready')
    took, states, stop = [], [], threading.Event()

    def poll():
        while not stop.is_set():
            states.append(s.ask('/readyz')[0])
            time.sleep(0.02)
    poller = threading.Thread(target=poll)
    poller.start()
    took = s.end()
    stop.set()
    poller.join()
    check(503 in states and 200 not in states[states.index(503):], f'readyz: {states}')
    watcher.join(5)
    check(watcher.ended, 'a viewer is not closed')
    print(f'SIGTERM with a viewer and 4 sessions: {took:.2f} s, /readyz {states[-8:]}')


def test_stays_watched():
    if not view:
        return
    s = Server('--config', write('plain.json', {'listen': '127.0.0.1:0', 'rtsp': '127.0.0.1:0', 'test-pattern': True}))
    if 'cannot serve WebRTC' in s.text():
        print('no WebRTC here: its viewers are not looked at')
        return s.end()
    v = subprocess.Popen([view, f'http://127.0.0.1:{s.port}/', '2', '6'], stdout=subprocess.PIPE, text=True)
    for _ in range(600):
        if 'zoetrope_viewers 2\n' in s.ask('/metrics')[1] or v.poll() is not None:
            break
        time.sleep(0.1)
    write('plain.json', {'listen': '127.0.0.1:0', 'rtsp': '127.0.0.1:0', 'test-pattern': True, 'max-viewers': 1})
    s.reload('and 1 viewers at most')
    out = v.communicate(timeout=150)[0]
    print('WebRTC viewers over a reload:', out.strip()[:200])
    if v.returncode and os.getloadavg()[0] > os.cpu_count() + 1:
        print('this machine is busy: nothing can be said of them')
    else:
        check(v.returncode == 0, 'WebRTC viewers lost pictures')
    s.end()


def test_log():
    os.mkdir('sessions')
    words = ['quokkavale', 'zyzzyvaheath', 'wombatfjord']
    s = Server('--listen', '127.0.0.1:0', '--rtsp', '127.0.0.1:0', '-p', words[0] + ' sea', '--log-format', 'json', '--log-sessions',
               'sessions', '--batch-dir', 'batch', '-r', '5', '--steps', '1', '--no-admission', soft=64)
    with open(f'/proc/{s.p.pid}/limits') as f:
        soft, hard = re.search(r'Max open files +(\d+) +(\d+)', f.read()).groups()
    check(soft == hard and int(soft) > 64, f'descriptors: {soft} of {hard}')
    watcher = Watcher(s)
    code, text = s.ask('/sessions', 'POST', {'prompt': words[1] + ' volcano'})
    check(code == 201, f'{code} {text}')
    name = json.loads(text)['id']
    check(words[1] in s.ask('/sessions/' + name)[1], 'the prompt is not told to whom it concerns')
    s.ask('/sessions/live', 'PATCH', {'prompt': words[2] + ' sea'})
    s.ask('/sessions/live', 'PATCH', {'prompt': words[2] + '\x00', 'x': words[2]})
    s.ask('/clips', 'POST', {'id': 'one', 'prompt': words[1], 'frames': 24, words[2]: 1})
    s.ask('/clips', 'POST', {'id': 'two', 'prompt': words[1], 'frames': 24})
    s.ask('/' + words[2])
    check(watcher.more(watcher.pictures), 'no pictures')
    metrics = s.ask('/metrics')[1]
    check(re.search(r'^zoetrope_clips\{state="(queued|rendering|done)"\} 1$', metrics, re.M), 'no zoetrope_clips')
    check(sum(map(int, re.findall(r'^zoetrope_clips\{.*\} (\d+)$', metrics, re.M))) == 1, 'zoetrope_clips')
    took = s.end()
    lines = s.text().splitlines()
    check(len(lines) > 2, f'no log: {lines}')
    for line in lines:
        try:
            o = json.loads(line)
            check(set(o) == {'level', 'message', 'time'} and o['level'] in ('info', 'warn', 'error')
                  and re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', o['time']), f'a line of the log: {line}')
        except ValueError:
            check(False, f'not JSON: {line}')
    for word in words:
        check(word not in s.text(), f'"{word}" of a prompt is in the log: {s.text()}')
    logs = os.listdir('sessions')
    check(len(logs) == 2, f'session logs: {logs}')
    for log in logs:
        with open('sessions/' + log) as f:
            whole = [json.loads(line) for line in f]
        check(len(whole) > 1 and whole[0].get('zoetrope') == 1, f'{log}: {len(whole)} lines')
        check(open('sessions/' + log).read().endswith('\n'), f'{log}: half a line')
    print(f'SIGTERM with two sessions and a clip: {took:.2f} s; logs of {sorted(os.path.getsize("sessions/" + x) for x in logs)} bytes')


# A model whose pass takes far longer than anybody waits for the end.
def test_long_pass():
    subprocess.run([make_model, '--dim', '128', '--heads', '2', '--layers', '4', '--experts', '4', '--inter', '64', '--quant', 'f32', '--size',
                    '1536x864', 'slow'], check=True)
    os.environ['ZOETROPE_KERNELS'] = 'c'
    os.mkdir('slow-logs')
    s = Server('-m', 'slow', '--listen', '127.0.0.1:0', '--rtsp', 'off', '-r', '1', '--size', '128x96', '--budget-ms', '60000', '--steps', '1',
               '--threads', '1', '--log-sessions', 'slow-logs')
    threading.Thread(target=lambda: s.ask('/s/live.mjpeg'), daemon=True).start()
    for _ in range(600):
        if os.listdir('slow-logs'):
            break
        time.sleep(0.05)
    time.sleep(1)
    took = s.end(within=5.5)            # its own clock says 4.5 s
    del os.environ['ZOETROPE_KERNELS']
    check('ended in the middle of a pass' in s.text(), f'it was not: {s.text()}')
    with open('slow-logs/' + os.listdir('slow-logs')[0]) as f:
        check(json.loads(f.readline()).get('zoetrope') == 1, 'the log of the session')
    print(f'SIGTERM in a pass of many seconds: {took:.2f} s')


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    os.environ['XDG_CACHE_HOME'] = work + '/cache'
    for name in ('', 'other'):
        made = subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
                               '-subj', '/CN=localhost', '-keyout', name + 'key', '-out', name + 'cert'], capture_output=True) \
            if shutil.which('openssl') else None
        if not made or made.returncode:
            print('needs openssl')
            sys.exit(77)
    write('tokens', 'control a-control-token\n')
    write('notokens', 'control x\n')
    write('token', 'a-token\n')
    os.mkdir('logs')
    tests = [test_every_key, test_bad_files, test_reload, test_stays_watched, test_log, test_long_pass]
    for test in tests:
        began = time.time()
        test()
        print(f'{test.__name__}: {time.time() - began:.1f} s', flush=True)
sys.exit(failed)
