#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Mutated offers: each is answered or refused as the client's fault, the server lives, and a viewer beside them notices nothing.
# Usage: mutated_offers.py SERVE MODEL WHEP_VIEW OFFERS
import collections, http.client, os, random, re, subprocess, sys, tempfile, threading, time

serve, model, view, offers = sys.argv[1:4] + [int(sys.argv[4])]
GOOD = '\r\n'.join([
    'v=0', 'o=- 1 2 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1', 'a=extmap-allow-mixed',
    'm=video 9 UDP/TLS/RTP/SAVPF 108 96 97', 'c=IN IP4 0.0.0.0', 'a=rtcp:9 IN IP4 0.0.0.0', 'a=ice-ufrag:abcd',
    'a=ice-pwd:0123456789012345678901', 'a=ice-options:trickle', 'a=fingerprint:sha-256 ' + ':'.join(['5A'] * 32),
    'a=setup:actpass', 'a=mid:0', 'a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay', 'a=recvonly',
    'a=rtcp-mux', 'a=rtcp-rsize', 'a=rtpmap:108 H264/90000', 'a=rtcp-fb:108 nack', 'a=rtcp-fb:108 nack pli',
    'a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f', 'a=rtpmap:96 VP8/90000',
    'a=rtpmap:97 rtx/90000', 'a=fmtp:97 apt=108', 'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0', 'a=ice-ufrag:abcd', 'a=ice-pwd:0123456789012345678901',
    'a=fingerprint:sha-256 ' + ':'.join(['5A'] * 32), 'a=setup:actpass', 'a=mid:1', 'a=sctp-port:5000',
    'a=max-message-size:262144', '']).encode()


def mutate(r):
    b = bytearray(GOOD)
    for _ in range(r.randint(1, 4)):
        at, n, kind = r.randrange(len(b)), r.randrange(40), r.randrange(5)
        if kind == 0:
            b[at] = r.randrange(256)
        elif kind == 1:
            b[at] = r.choice(b'0129:;=\r\n /a')
        elif kind == 2 and len(b) > 100:
            del b[at:at + n]
        elif kind == 3:
            b[at:at] = b[at:at + n]
        else:
            line = bytes(b).split(b'\r\n')
            i, j = r.randrange(len(line)), r.randrange(len(line))
            line[i], line[j] = line[j], line[i]
            b = bytearray(b'\r\n'.join(line))
    return bytes(b)


def ask(method, path, body=None):
    c = http.client.HTTPConnection('127.0.0.1', port, timeout=40)
    c.request(method, path, body, {'Content-Type': 'application/sdp'} if body else {})
    r = c.getresponse()
    text = r.read()
    c.close()
    return r.status, r.getheader('Location'), text.decode(errors='replace')


def offer(seed, n):
    r = random.Random(seed)
    for _ in range(n):
        text = mutate(r)
        try:
            status, place, _ = ask('POST', '/whep/live', text)
            if place:
                ask('DELETE', place)
        except Exception as e:
            status = type(e).__name__
        with lock:
            count[status] += 1
            if status not in (201, 400, 422):
                strange.append((status, text))


def metric(name):
    return float(re.search('^' + name + ' (.*)$', ask('GET', '/metrics')[2], re.M)[1])


log = tempfile.TemporaryFile('w+')
environment = {**os.environ, 'ASAN_OPTIONS': 'detect_leaks=0'}
server = subprocess.Popen([serve, '-m', model, '--rtsp', 'off', '--listen', '127.0.0.1:0', '--test-pattern'], stderr=log,
                          env=environment)
while True:
    log.seek(0)
    said = log.read()
    where = re.search(r'serving (http://127.0.0.1:(\d+)/)', said)
    if where or server.poll() is not None:
        break
    time.sleep(.05)
if not where or 'cannot serve WebRTC' in said or 'no WebRTC' in said:
    server.kill()
    sys.exit(print(said) or 77)
port = int(where[2])
count, strange, lock = collections.Counter(), [], threading.Lock()
offer(0, 100)                           # what is kept for good is there then
time.sleep(3)
before = metric('process_open_fds')
viewer = subprocess.Popen([view, where[1], '1', str(max(3, offers // 60))], stdout=subprocess.PIPE, text=True)
began = time.time()
workers = [threading.Thread(target=offer, args=(i + 1, offers // 4)) for i in range(4)]
for w in workers:
    w.start()
for w in workers:
    w.join()
took = time.time() - began
beside = viewer.communicate()[0].strip()
time.sleep(3)
after = metric('process_open_fds')
print(f'{dict(count)} in {took:.0f} s, descriptors {before:.0f} and {after:.0f}, beside them: {beside}')
for status, text in strange[:3]:
    print('FAIL:', status, text)
busy = os.getloadavg()[0] > os.cpu_count() + 1
failed = bool(strange) or after > before or (viewer.returncode != 0 and not busy) or count[201] == 0 or count[422] == 0
server.terminate()
code = server.wait(60)
print('the server ended with', code)
sys.exit(1 if failed or code else 0)
