// SPDX-License-Identifier: Apache-2.0
// What the parts of the viewer page share: its state, its lines of text, and questions to the server.

export const $ = id => document.getElementById(id);
export const id = new URLSearchParams(location.search).get('s') || 'live';

export const state = {
    token: new URLSearchParams(location.hash.slice(1)).get('token') || '',
    pc: null, channel: null, resource: null, mode: 'none', tries: 0, retry: 0,
    model: null, seq: 0, value: {}, sent: {}, steering: false,
    byRtp: new Map(), latencies: [], outcomes: [], counts: {}, lastSeq: -1, frames: 0, fps: 0, shownAt: [],
    recorder: null, stop: null,
};
window.zoetrope = state;        // for the curious, and for tests

export function say(text, kind = '') {
    $('state').textContent = text;
    $('state').className = `state ${kind}`;
}

export function notice(text) {
    $('notice').hidden = !text;
    if ($('notice').textContent !== text)
        $('notice').textContent = text || '';
}

export function cover(text) {
    $('cover').classList.toggle('off', !text);
    if (text)
        $('cover-text').textContent = text;
}

let toasting = 0;
export function toast(text) {
    $('toast').textContent = text;
    $('toast').hidden = false;
    clearTimeout(toasting);
    toasting = setTimeout(() => { $('toast').hidden = true; }, 2500);
}

export function ask(path, options = {}) {
    const headers = { ...options.headers };
    if (state.token)
        headers.Authorization = `Bearer ${state.token}`;
    return fetch(path, { ...options, headers, cache: 'no-store' });
}

export const reason = async reply => (await reply.json().catch(() => ({}))).error || `HTTP ${reply.status}`;

export function download(blob, name) {
    const a = document.createElement('a');
    a.href = URL.createObjectURL(blob);
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 10000);
}
