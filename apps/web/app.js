// SPDX-License-Identifier: Apache-2.0
// The viewer page: joins over WHEP, shows what comes, and measures it.
import { $, ask, cover, download, id, notice, reason, say, state, toast } from '/page.js';
import { OUTCOMES, drawLatency, drawLegend, drawOutcomes, quantile } from '/plots.js';
import { makeChips, makeSliders, markChips, send, steerable, unknown } from '/steer.js';

const CONNECT_MS = 5000;        // without ICE for so long: pictures over HTTP instead

function needToken() {
    say('token needed', 'error');
    cover('This server asks for a token.');
    if (!$('ask').open)
        $('ask').showModal();
}

$('ask-form').addEventListener('submit', () => {
    state.token = $('token').value.trim();
    start();
});

// ---- WHEP

function leave() {
    if (state.stop)
        state.stop();
    state.stop = null;
    if (state.resource)
        ask(state.resource, { method: 'DELETE', keepalive: true }).catch(() => {});
    state.resource = null;
    if (state.pc)
        state.pc.close();
    state.pc = state.channel = null;
}

function again(text, seconds) {
    leave();
    state.mode = 'waiting';
    say('waiting', 'error');
    clearInterval(state.retry);
    let left = Math.ceil(seconds);
    const tick = () => {
        cover(`${text} Trying again in ${left} s.`);
        if (left-- <= 0) {
            clearInterval(state.retry);
            start();
        }
    };
    tick();
    state.retry = setInterval(tick, 1000);
}

const backoff = () => Math.min(30, 2 ** state.tries++);

function onState() {
    const pc = state.pc;
    if (pc.connectionState === 'connected') {
        state.tries = 0;
        state.mode = 'webrtc';
        say('live', 'live');
        notice('');
    } else if (pc.connectionState === 'failed' && state.mode === 'webrtc') {
        again('The connection was lost.', backoff());
    }
}

function listen(channel) {
    state.channel = channel;
    channel.onopen = () => channel.send(JSON.stringify({ stats: true }));
    channel.onmessage = e => heard(JSON.parse(e.data));
    channel.onclose = () => {
        if (state.channel === channel && state.mode === 'webrtc')
            again('The stream has ended.', backoff());
    };
}

// H.264 first; ?codec=vp8 takes VP8 only.
function prefer(transceiver) {
    const only = new URLSearchParams(location.search).get('codec');
    if (!only || !transceiver.setCodecPreferences)
        return;
    const all = RTCRtpReceiver.getCapabilities('video').codecs;
    transceiver.setCodecPreferences(all.filter(c => [`video/${only}`, 'video/rtx'].includes(c.mimeType.toLowerCase())));
}

async function join() {
    const pc = state.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    const transceiver = pc.addTransceiver('video', { direction: 'recvonly' });
    prefer(transceiver);
    if ('jitterBufferTarget' in transceiver.receiver)
        transceiver.receiver.jitterBufferTarget = 0;
    pc.ontrack = e => { $('video').srcObject = new MediaStream([e.track]); };
    pc.onconnectionstatechange = () => state.pc === pc && onState();
    listen(pc.createDataChannel('control'));
    await pc.setLocalDescription();
    const reply = await ask(`/whep/${id}`, {
        method: 'POST', body: pc.localDescription.sdp, headers: { 'Content-Type': 'application/sdp' },
    });
    if (state.pc !== pc)
        return;
    if (reply.status === 401)
        return needToken();
    if (reply.status === 404)
        throw new Error(`There is no session ${id}.`);
    if (reply.status === 503 || reply.status === 429) {
        const text = await reason(reply);
        if (/WebRTC/.test(text))
            return fallBack('This server sends pictures only.');
        return again(`Busy: ${text}.`, Number(reply.headers.get('Retry-After')) || 10);
    }
    if (!reply.ok)
        throw new Error(await reason(reply));
    state.resource = reply.headers.get('Location');
    await pc.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
    setTimeout(() => {
        if (state.pc === pc && pc.connectionState !== 'connected')
            fallBack('WebRTC could not connect (is UDP blocked, or the page forwarded over ssh?)');
    }, CONNECT_MS);
}

async function start() {
    clearInterval(state.retry);
    leave();
    state.mode = 'joining';
    say('connecting');
    cover('Waiting for the first picture');
    try {
        if (!state.model && !await loadModel())
            return;
        if (!window.RTCPeerConnection || new URLSearchParams(location.search).get('mode') === 'pictures')
            return fallBack('WebRTC is off');
        await join();
    } catch (e) {
        const gone = e instanceof TypeError;
        again(gone ? 'The server does not answer.' : e.message, backoff());
    }
}

// ---- pictures over HTTP

// Calls found(headers, bytes) for each part of a multipart body.
async function readParts(reader, found) {
    let held = new Uint8Array(0), head = null;
    for (;;) {
        const { done, value } = await reader.read();
        if (done)
            return;
        const more = new Uint8Array(held.length + value.length);
        more.set(held);
        more.set(value, held.length);
        held = more;
        for (;;) {
            if (!head) {
                const text = new TextDecoder('latin1').decode(held.subarray(0, 512)), end = text.indexOf('\r\n\r\n');
                if (end < 0)
                    break;
                head = Object.fromEntries(text.slice(0, end).split('\r\n').filter(l => l.includes(':'))
                    .map(l => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]));
                held = held.subarray(end + 4);
            }
            const bytes = Number(head['content-length']);
            if (held.length < bytes + 2)
                break;
            await found(head, held.slice(0, bytes));
            held = held.slice(bytes + 2);
            head = null;
        }
    }
}

async function fallBack(why) {
    leave();
    state.mode = 'pictures';
    say('pictures', 'live');
    notice(`${why}: single pictures over HTTP instead, with more delay.`);
    const abort = new AbortController();
    state.stop = () => abort.abort();
    $('still').hidden = false;
    $('video').hidden = true;
    try {
        const reply = await ask(`/s/${id}.mjpeg`, { signal: abort.signal });
        if (reply.status === 401)
            return needToken();
        if (!reply.ok)
            throw new Error(await reason(reply));
        await readParts(reply.body.getReader(), async (head, bytes) => {
            const picture = await createImageBitmap(new Blob([bytes], { type: 'image/jpeg' }));
            Object.assign($('still'), { width: picture.width, height: picture.height });
            $('still').getContext('2d').drawImage(picture, 0, 0);
            picture.close();
            count(head['x-outcome']);
            shown(performance.now(), { t: Number(head['x-t']), seq: Number(head['x-seq']) });
        });
        throw new Error('The stream has ended.');
    } catch (e) {
        if (!abort.signal.aborted)
            again(e.message, backoff());
    }
}

// ---- what comes back

function count(outcome) {
    if (!outcome)
        return;
    state.counts[outcome] = (state.counts[outcome] || 0) + 1;
    state.outcomes.push(outcome);
    if (state.outcomes.length > 600)
        state.outcomes.splice(0, 300);
}

// A gap in the slots is dropped ones; at half the frame rate every other slot is none.
function countGap(index) {
    const gap = state.lastIndex === undefined ? 1 : index - state.lastIndex;
    state.lastIndex = index;
    state.gaps = [...(state.gaps || []), gap].slice(-24);
    const step = Math.max(1, Math.min(...state.gaps));
    for (let k = step; k < gap && k < 50; k += step)
        count('dropped');
}

function heard(message) {
    if ('index' in message) {
        countGap(message.index);
        state.byRtp.set(message.rtp, message);
        if (state.byRtp.size > 120)
            state.byRtp.delete(state.byRtp.keys().next().value);
        count(message.outcome);
    } else if ('ignored' in message) {
        unknown(message.ignored);
    } else if ('steer' in message) {
        state.steering = message.steer === 'you';
        $('over-steer').hidden = false;
        $('over-steer').textContent = state.steering ? 'you steer' : 'someone else steers';
    } else if ('error' in message) {
        notice(message.error);
    }
}

// A picture is on the screen; `used`: the newest control that it was made with.
function shown(at, used) {
    state.frames++;
    state.shownAt.push(at);
    while (state.shownAt.length && at - state.shownAt[0] > 2000)
        state.shownAt.shift();
    cover('');
    if (!used || used.seq < 0 || used.seq <= state.lastSeq || used.seq > state.seq || !(used.t > 0))
        return;
    state.lastSeq = used.seq;
    const ms = at - used.t;
    if (ms >= 0 && ms < 10000)
        state.latencies.push({ at, ms });
    if (state.latencies.length > 2000)
        state.latencies.splice(0, 1000);
}

function onVideoFrame(now, meta) {
    shown(Math.max(meta.presentationTime || now, now), state.byRtp.get(meta.rtpTimestamp));
    $('video').requestVideoFrameCallback(onVideoFrame);
}

async function loadModel() {
    const [model, session] = await Promise.all([ask('/model'), ask(`/sessions/${id}`)]);
    if (model.status === 401) {
        needToken();
        return false;
    }
    if (!model.ok)
        throw new Error(await reason(model));
    state.model = await model.json();
    $('model').textContent = `${state.model.name} · ${state.model.size} · ${state.model.fps} fps`;
    makeChips(state.model.words);
    makeSliders(state.model.controls);
    if (session.ok) {
        state.session = await session.json();
        $('prompt').value = state.session.prompt;
        $('copy').disabled = !state.session.rtsp;
        markChips();
    }
    return true;
}

// ---- buttons

const picture = () => state.mode === 'pictures' ? $('still') : $('video');

$('snapshot').onclick = () => {
    const from = picture(), canvas = document.createElement('canvas');
    canvas.width = from.videoWidth || from.width;
    canvas.height = from.videoHeight || from.height;
    canvas.getContext('2d').drawImage(from, 0, 0);
    canvas.toBlob(blob => blob && download(blob, `zoetrope-${Date.now()}.png`));
};

$('record').onclick = () => {
    if (state.recorder) {
        state.recorder.stop();
        return;
    }
    const stream = state.mode === 'pictures' ? $('still').captureStream() : $('video').srcObject;
    const types = ['video/mp4;codecs=avc1', 'video/webm;codecs=vp9', 'video/webm'];
    const type = types.find(t => MediaRecorder.isTypeSupported(t)), parts = [], began = Date.now();
    const recorder = state.recorder = new MediaRecorder(stream, { mimeType: type });
    const clock = setInterval(() => {
        const s = Math.round((Date.now() - began) / 1000);
        $('over-record').textContent = `● ${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
    }, 500);
    recorder.ondataavailable = e => parts.push(e.data);
    recorder.onstop = () => {
        clearInterval(clock);
        state.recorder = null;
        $('over-record').hidden = true;
        $('record').setAttribute('aria-pressed', 'false');
        $('record').textContent = 'Record';
        download(new Blob(parts, { type }), `zoetrope-${began}.${type.startsWith('video/mp4') ? 'mp4' : 'webm'}`);
    };
    recorder.start(1000);
    $('over-record').hidden = false;
    $('record').setAttribute('aria-pressed', 'true');
    $('record').textContent = 'Stop';
};

$('full').onclick = () => document.fullscreenElement ? document.exitFullscreen() : $('frame').requestFullscreen();

$('copy').onclick = async () => {
    const address = state.session?.rtsp;
    await navigator.clipboard?.writeText(address).then(() => toast('Copied'), () => toast(address)) ?? toast(address);
};

// ---- numbers

const fact = (name, value) => `${name}\u0000${value}`;

async function facts() {
    const list = [];
    if (state.pc && state.pc.connectionState === 'connected') {
        for (const r of (await state.pc.getStats()).values()) {
            if (r.type === 'inbound-rtp' && r.kind === 'video')
                list.push(fact('decoded', `${r.framesDecoded} · lost packets ${r.packetsLost}`));
            if (r.type === 'candidate-pair' && r.nominated && r.currentRoundTripTime !== undefined)
                list.push(fact('round trip', `${(1000 * r.currentRoundTripTime).toFixed(1)} ms`));
            if (r.type === 'codec')
                list.push(fact('codec', r.mimeType.replace('video/', '')));
        }
    }
    const video = picture();
    list.push(fact('picture', `${video.videoWidth || video.width}×${video.videoHeight || video.height}`));
    $('facts').replaceChildren(...list.flatMap(f => f.split('\u0000').map((text, i) =>
        Object.assign(document.createElement(i ? 'dd' : 'dt'), { textContent: text }))));
}

function draw() {
    if (document.hidden)
        return;
    const now = performance.now(), span = state.shownAt.filter(t => now - t < 2000);
    state.fps = span.length / 2;
    $('over-fps').textContent = `${state.fps.toFixed(0)} fps`;
    const recent = drawLatency($('latency'), state.latencies, now);
    if (recent.length) {
        const p50 = quantile(recent, .5).toFixed(0), p95 = quantile(recent, .95).toFixed(0);
        $('over-latency').textContent = `${p50} ms`;
        $('latency-text').textContent = `Key press to picture: half within ${p50} ms, 95 % within ${p95} ms.`;
    }
    drawOutcomes($('outcomes'), state.outcomes);
    drawLegend($('legend'), state.counts);
    if (state.mode === 'webrtc' && now - (state.shownAt.at(-1) ?? now) > 3000)
        cover('No picture for some seconds');
}
setInterval(draw, 200);
setInterval(() => facts().catch(() => {}), 1000);
// While this page steers, the latency is measured without a key press too.
setInterval(() => {
    if (state.steering && steerable() && state.mode === 'webrtc')
        send({ controls: { ...state.value } });
}, 500);

addEventListener('pagehide', leave);
if ('requestVideoFrameCallback' in HTMLVideoElement.prototype)
    $('video').requestVideoFrameCallback(onVideoFrame);
else
    $('video').addEventListener('timeupdate', () => shown(performance.now()));
drawLegend($('legend'), Object.fromEntries(OUTCOMES.map(([name]) => [name, 0])));
start();
