#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The examples do what they say: the curl and Python clients and the commands of the OBS notes against a server, the alert rules
# and every expression of the dashboard by promtool, the embedded stream in Chromium from a page of another origin (with "page").
# Usage: examples.py SERVE MODEL ROOT [page]
import atexit, functools, http.server, json, os, re, shutil, socket, subprocess, sys, tempfile, threading, time, urllib.request

serve, model, root = (os.path.realpath(a) for a in sys.argv[1:4])
examples = root + '/examples'
failed = 0
os.environ.update(ASAN_OPTIONS=os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0', no_proxy='*')


def check(good, what):
    global failed
    if not good:
        print('FAIL:', what[:800], flush=True)
        failed = 1


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


class Server:
    def __init__(self, *more):
        with open('log', 'w') as log:
            self.p = subprocess.Popen([serve, '-m', model, '--listen', '127.0.0.1:0', '--rtsp', '127.0.0.1:0', *more], stderr=log, stdout=subprocess.DEVNULL)
        atexit.register(self.p.kill)
        m = None
        for _ in range(1200):
            text = open('log').read()
            m = re.search(r'serving (http://\S+)/(?: (rtsp://\S+))?', text)
            if m or self.p.poll() is not None:
                break
            time.sleep(0.05)
        if 'built without' in text or not m:
            print(text)
            self.p.kill()
            sys.exit(77 if 'built without' in text else 1)
        self.url, self.rtsp = m[1], m[2]

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return reply.read().decode()

    def end(self):
        self.p.terminate()
        check(self.p.wait(60) == 0, 'the server: ' + open('log').read()[-300:])


def test_clients(s):
    os.mkdir('sh')
    r = run(examples + '/sessions.sh', s.url + '/', 'sh')
    check(r.returncode == 0 and re.search(r'^session [0-9a-f]{32}; RTSP players open rtsp://', r.stdout) and 'clip.mp4 has' in r.stdout,
          f'sessions.sh: {r}')
    for n in (1, 2, 3):
        with open(f'sh/picture-{n}.jpg', 'rb') as f:
            check(f.read(3) == b'\xff\xd8\xff', f'picture-{n}.jpg')
    if shutil.which('ffprobe'):
        probe = run('ffprobe', '-v', 'error', '-count_frames', '-show_entries', 'stream=nb_read_frames', '-of', 'csv=p=0', 'sh/clip.mp4')
        check(probe.stdout.strip() == '48', f'clip.mp4: {probe}')
    os.mkdir('py')
    r = run(sys.executable, examples + '/steer.py', '--server', s.url, '--prompt', 'sea and a cat', '--seconds', '3', '--out', 'py')
    m = re.search(r"the model does not know: cat\n(\d+) pictures in .* s\noutcomes: (\{.*\})", r.stdout)
    check(r.returncode == 0 and m and int(m[1]) == len(os.listdir('py')) >= 3, f'steer.py: {r}')
    check(json.loads(s.get('/sessions')) == [] or all(x['id'] == 'live' for x in json.loads(s.get('/sessions'))), 'sessions are left')


def test_obs(s):
    with open(examples + '/obs.md') as f:
        notes = f.read()
    commands = re.findall(r'^curl .*$', notes, re.M)
    check(len(commands) == 2, 'the commands of obs.md')
    for command in commands:
        r = run('bash', '-c', command.replace('http://127.0.0.1:8080', s.url).replace('curl -s', 'curl -sS --fail-with-body'))
        check(r.returncode == 0 and json.loads(r.stdout) == {'ignored': []}, f'{command}: {r}')
    for url in re.findall(r'`(http://127[^`]*)`', notes):
        check('<title>' in s.get(url.replace('http://127.0.0.1:8080', '')), url)
    url = re.search(r'`(rtsp://127[^`]*)`', notes)[1].replace('rtsp://127.0.0.1:8554/live', s.rtsp)
    if shutil.which('ffmpeg'):
        r = run('ffmpeg', '-v', 'error', '-rtsp_transport', 'tcp', '-i', url, '-frames:v', '5', '-f', 'framecrc', '-')
        check(r.returncode == 0 and len(re.findall(r'^0, ', r.stdout, re.M)) == 5, f'{url}: {r}')


def test_prometheus(s):
    with open(examples + '/grafana.json') as f:
        dashboard = json.load(f)
    panels = dashboard['panels']
    ids = [p['id'] for p in panels]
    check(len(panels) > 10 and len(set(ids)) == len(ids), 'the dashboard')
    for p in panels:
        g = p['gridPos']
        over = [o['title'] for o in panels if o is not p and abs(2 * g['x'] + g['w'] - 2 * o['gridPos']['x'] - o['gridPos']['w']) < g['w'] + o['gridPos']['w']
                and abs(2 * g['y'] + g['h'] - 2 * o['gridPos']['y'] - o['gridPos']['h']) < g['h'] + o['gridPos']['h']]
        check(g['x'] + g['w'] <= 24 and not over and p['targets'], f'{p["title"]} lies over {over}')
    expressions = [t['expr'] for p in panels for t in p['targets']]
    with open(examples + '/alerts.yml') as f:
        rules = f.read()
    is_there = {re.sub(r'_(bucket|sum|count)$', '', n) for n in re.findall(r'^(\w+)[ {]', s.get('/metrics'), re.M)}
    named = {re.sub(r'_(bucket|sum|count)$', '', n) for n in re.findall(r'\b(?:zoetrope|process)_\w+', '\n'.join(expressions) + rules)}
    check(len(named) > 15 and named <= is_there, f'not in /metrics: {named - is_there}')
    ours = {n for n in is_there if n.startswith('zoetrope_')}
    check(ours <= {n for n in named if n in '\n'.join(expressions)}, f'not on the dashboard: {ours - named}')
    if not shutil.which('promtool'):
        print('no promtool: rules and expressions are not judged')
        return
    for name in ('alerts.yml', 'prometheus.yml'):
        shutil.copy(f'{examples}/{name}', name)
    shutil.copy(root + '/tests/alerts_test.yml', 'alerts_test.yml')
    variables = {'$__rate_interval': '1m', '$instance': '.*'}
    with open('dashboard.yml', 'w') as f:
        for a, b in variables.items():
            expressions = [e.replace(a, b) for e in expressions]
        json.dump({'groups': [{'name': 'x', 'rules': [{'record': f'x:{i}', 'expr': e} for i, e in enumerate(expressions)]}]}, f)
    for command in (['check', 'config', 'prometheus.yml'], ['check', 'rules', 'alerts.yml'], ['check', 'rules', 'dashboard.yml'],
                    ['test', 'rules', 'alerts_test.yml']):
        r = run('promtool', *command)
        check(r.returncode == 0, f'promtool {command}: {r.stdout} {r.stderr}')
    r = subprocess.run(['promtool', 'check', 'metrics'], input=s.get('/metrics'), capture_output=True, text=True, timeout=60)
    check(r.returncode in (0, 3) and 'error' not in r.stderr, f'promtool check metrics: {r.stderr}')


# Chromium, by the WebDriver protocol.
class Browser:
    def __init__(self):
        with socket.create_server(('127.0.0.1', 0)) as free:
            self.port = free.getsockname()[1]
        self.p = subprocess.Popen(['chromedriver', f'--port={self.port}', '--log-level=OFF'], stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(('127.0.0.1', self.port)) == 0:
                    break
            time.sleep(0.05)
        arguments = ['--headless=new', '--no-sandbox', '--disable-gpu', '--autoplay-policy=no-user-gesture-required',
                     '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns', '--user-data-dir=' + os.getcwd() + '/profile']
        made = self.ask('POST', '', {'capabilities': {'alwaysMatch': {'goog:chromeOptions': {'args': arguments, 'binary': shutil.which('chromium')}}}})
        self.session = '/' + made['sessionId']

    session = ''

    def ask(self, method, path, body=None):
        r = urllib.request.Request(f'http://127.0.0.1:{self.port}/session{self.session}{path}', json.dumps(body or {}).encode() if method == 'POST' else None,
                                   {'Content-Type': 'application/json'}, method=method)
        with urllib.request.urlopen(r, timeout=120) as reply:
            return json.load(reply)['value']

    def shows(self, url):
        self.ask('POST', '/url', {'url': url})
        for _ in range(300):
            text = self.ask('POST', '/execute/sync', {'script': 'return document.getElementById("state").textContent', 'args': []})
            if text != 'connecting':
                return text
            time.sleep(0.1)
        return text

    def end(self):
        self.ask('DELETE', '')
        self.p.terminate()
        self.p.wait(30)


def test_page():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *a):
            pass
    handler = functools.partial(Quiet, directory=examples)
    os.mkdir('sessions')
    elsewhere = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    origin = f'http://127.0.0.1:{elsewhere.server_port}'
    browser = Browser()
    try:
        s = Server('--allow-origin', origin, '--size', '128x96', '--log-sessions', 'sessions')
        has_webrtc = 'cannot serve WebRTC' not in open('log').read()
        text = browser.shows(f'{origin}/embed.html?server={s.url}')
        print('embed.html:', text)
        check(text == 'playing 128x96 over WebRTC' if has_webrtc else text.startswith('showing pictures'), text)
        if has_webrtc:
            key = [{'type': 'key', 'id': 'k', 'actions': [{'type': 'keyDown', 'value': '\ue014'}]}]
            browser.ask('POST', '/actions', {'actions': key})
            steered = False
            for _ in range(200):
                time.sleep(0.1)
                steered = steered or any('"controls": {"yaw": 1}' in open('sessions/' + n).read() for n in os.listdir('sessions'))
                if steered:
                    break
            check(steered, 'the arrow key does not arrive')
        text = browser.shows(f'{origin}/embed.html?server={s.url}&session=none')
        check(text == 'nothing to show: no such session', text)
        s.end()
        s = Server()            # that does not know the page
        text = browser.shows(f'{origin}/embed.html?server={s.url}')
        check(text.startswith('nothing to show') or text.startswith('showing pictures'), text)
        s.end()
    finally:
        browser.end()
        elsewhere.shutdown()


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    os.environ['XDG_CACHE_HOME'] = work + '/cache'
    if len(sys.argv) > 4:
        if not shutil.which('chromedriver') or not shutil.which('chromium'):
            print('needs chromium and chromedriver')
            sys.exit(77)
        test_page()
    else:
        if not shutil.which('curl'):
            print('needs curl')
            sys.exit(77)
        server = Server('--batch-dir', 'clips', '-r', '8', '--steps', '1-2', '--no-admission')
        for test in (test_clients, test_obs, test_prometheus):
            test(server)
        server.end()
sys.exit(failed)
