// SPDX-License-Identifier: Apache-2.0
// Injected into the page by test_page: reads the marks out of what is shown, with the time at which it was shown.
const canvas = document.createElement('canvas'), video = document.getElementById('video');
canvas.width = 64;
canvas.height = 16;
const g = canvas.getContext('2d', { willReadFrequently: true });
window.probe = { frames: [], keys: [] };
const clock = () => Math.floor((performance.timeOrigin + performance.now()) * 10) % 2 ** 32;

// Four rows of 16 squares, see apps/serve/marks.h.
window.readMarks = from => {
    const w = from.videoWidth || from.width;
    g.drawImage(from, 0, 0, w, w / 4, 0, 0, 64, 16);
    const p = g.getImageData(0, 0, 64, 16).data;
    const row = y => {
        let bits = 0;
        for (let i = 0; i < 16; i++)
            bits |= (p[4 * ((4 * y + 2) * 64 + 4 * i + 2)] > 128) << i;
        return bits;
    };
    return { index: row(0), seq: row(1), made: row(2) + 65536 * row(3), seen: clock(), at: performance.now() };
};
const look = () => {
    window.probe.frames.push(window.readMarks(video));
    video.requestVideoFrameCallback(look);
};
video.requestVideoFrameCallback(look);
addEventListener('keydown', e => {
    const before = window.zoetrope.seq, at = performance.timeOrigin ? e.timeStamp : performance.now();
    setTimeout(() => window.zoetrope.seq > before && window.probe.keys.push({ at, seq: window.zoetrope.seq }), 0);
}, true);

window.quantile = (values, q) =>
    values.sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))];
// ms from burning a picture to its pixels on the page
window.delays = () => window.probe.frames.map(f => (f.seen - f.made) / 10).filter(d => d >= 0 && d < 5000);
// ms from each key press to the first picture that was made with it
window.reactions = () => window.probe.keys.map(k => {
    const first = window.probe.frames.find(f => f.at > k.at && f.seq >= k.seq);
    return first ? first.at - k.at : 9999;
});
// different pictures seen, and how many there were from the first to the last
window.seen = () => {
    const all = new Set(window.probe.frames.map(f => f.index)), list = [...all].sort((a, b) => a - b);
    return { different: all.size, span: list.length ? list[list.length - 1] - list[0] + 1 : 0 };
};
