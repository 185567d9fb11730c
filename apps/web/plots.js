// SPDX-License-Identifier: Apache-2.0
// Two small plots: latency as dots over time, outcomes as one line per frame. Redrawn at most ten times a second.

export const OUTCOMES = [
    ['on_time', 'on time', '--good'], ['degraded', 'degraded', '--fair'], ['late', 'late', '--bad'],
    ['repeated', 'repeated', '--wait'], ['dropped', 'dropped', '--gone'],
];

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Fits the canvas to its place on the page, in device pixels.
function begin(canvas, height) {
    const scale = window.devicePixelRatio || 1, w = canvas.clientWidth || 320;
    if (canvas.width !== Math.round(w * scale) || canvas.height !== Math.round(height * scale)) {
        canvas.width = Math.round(w * scale);
        canvas.height = Math.round(height * scale);
    }
    const g = canvas.getContext('2d');
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, w, height);
    return [g, w];
}

export function quantile(values, q) {
    const sorted = [...values].sort((a, b) => a - b);
    return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : NaN;
}

// samples: [{at, ms}], the last 30 s are shown.
export function drawLatency(canvas, samples, now) {
    const H = 84, SPAN = 30000;
    const [g, w] = begin(canvas, H);
    const shown = samples.filter(s => now - s.at < SPAN);
    const top = Math.max(120, Math.min(1000, 1.15 * Math.max(0, ...shown.map(s => s.ms))));
    const y = ms => H - 14 - (H - 22) * Math.min(ms, top) / top;
    g.font = '11px system-ui, sans-serif';
    g.fillStyle = colour('--quiet');
    g.strokeStyle = colour('--line');
    g.beginPath();
    for (const line of [0, 50, 100, 200, 400, 800].filter(v => v <= top && (!v || v >= top / 6))) {
        g.moveTo(30, Math.round(y(line)) + .5);
        g.lineTo(w, Math.round(y(line)) + .5);
        g.fillText(line, 4, y(line) + 4);
    }
    g.stroke();
    g.fillText('30 s ago', 30, H - 2);
    g.textAlign = 'right';
    g.fillText('now', w - 4, H - 2);
    g.textAlign = 'left';
    g.fillStyle = colour('--accent');
    for (const s of shown) {
        g.beginPath();
        g.arc(30 + (w - 34) * (1 - (now - s.at) / SPAN), y(s.ms), 2.4, 0, 7);
        g.fill();
    }
    return shown.map(s => s.ms);
}

// outcomes: names of the last frames, the newest last.
export function drawOutcomes(canvas, outcomes) {
    const H = 30, N = 240;
    const [g, w] = begin(canvas, H);
    const last = outcomes.slice(-N), wide = w / N;
    const paint = Object.fromEntries(OUTCOMES.map(([name, , variable]) => [name, colour(variable)]));
    const tall = { on_time: .45, degraded: .6, late: 1, repeated: .8, dropped: .8 };
    last.forEach((name, i) => {
        const h = H * (tall[name] || 1);
        g.fillStyle = paint[name] || '#888';
        g.fillRect((N - last.length + i) * wide, H - h, Math.max(wide - .4, .6), h);
    });
}

export function drawLegend(element, counts) {
    element.replaceChildren(...OUTCOMES.map(([name, text, variable]) => {
        const span = document.createElement('span'), dot = document.createElement('i');
        dot.style.background = `var(${variable})`;
        span.append(dot, `${text} ${counts[name] || 0}`);
        return span;
    }));
}
