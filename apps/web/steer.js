// SPDX-License-Identifier: Apache-2.0
// Steering: controls by keys, pad, sliders and gamepad, the prompt and its chips; over the data channel, or over HTTP.
import { $, ask, id, notice, reason, state, toast } from '/page.js';

const KEYS = {                  // control: [less, more], and how they are called
    yaw: [['ArrowLeft', 'KeyA'], ['ArrowRight', 'KeyD'], '← →'],
    pitch: [['ArrowDown'], ['ArrowUp'], '↓ ↑'],
    speed: [['KeyS'], ['KeyW'], 'S W'],
    climb: [['KeyF'], ['KeyR'], 'F R'],
};

export function steerable() {
    return state.mode === 'pictures' || (state.channel && state.channel.readyState === 'open');
}

let patching = false, waiting = null;
async function patch(body) {
    if (patching) {
        waiting = { ...waiting, ...body, controls: { ...(waiting || {}).controls, ...body.controls } };
        return;
    }
    patching = true;
    try {
        const reply = await ask(`/sessions/${id}`, {
            method: 'PATCH', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' },
        });
        if (!reply.ok)
            notice(await reason(reply));
        else if (body.prompt)
            unknown((await reply.json()).ignored.join(' '));
    } catch {
        notice('The server does not answer.');
    }
    patching = false;
    const next = waiting;
    waiting = null;
    if (next)
        patch(next);
}

export function send(what) {
    const message = { t: performance.now(), seq: ++state.seq, ...what };
    if (state.mode === 'pictures')
        patch(message);
    else if (steerable())
        state.channel.send(JSON.stringify(message));
}

// At most 50 messages a second; the latest value of each control is never lost.
let lastSent = 0, soon = 0;
function sendControls() {
    const changed = Object.fromEntries(Object.entries(state.value).filter(([k, v]) => state.sent[k] !== v));
    if (!Object.keys(changed).length || !steerable())
        return;
    const wait = lastSent + 20 - performance.now();
    if (wait > 0) {
        clearTimeout(soon);
        soon = setTimeout(sendControls, wait);
        return;
    }
    lastSent = performance.now();
    Object.assign(state.sent, changed);
    send({ controls: changed });
}

function set(name, value) {
    value = Math.max(-1, Math.min(1, Math.round(value * 100) / 100));
    if (!(name in state.value) || state.value[name] === value)
        return;
    state.value[name] = value;
    const slider = $(`c-${name}`);
    if (slider) {
        slider.value = value;
        $(`o-${name}`).textContent = value.toFixed(2);
    }
    const x = state.value.yaw || 0, y = state.value.pitch || 0, reach = 3;
    $('knob').style.transform = `translate(${x * reach}rem, ${-y * reach}rem)`;
    sendControls();
}

const held = new Set();
function onKey(e, down) {
    if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|TEXTAREA|SELECT|BUTTON)$/.test(e.target.tagName))
        return;
    for (const [name, [less, more]] of Object.entries(KEYS)) {
        if (!(name in state.value) || ![...less, ...more].includes(e.code))
            continue;
        e.preventDefault();
        if (e.repeat)
            return;
        down ? held.add(e.code) : held.delete(e.code);
        set(name, more.some(k => held.has(k)) - less.some(k => held.has(k)));
    }
}
addEventListener('keydown', e => onKey(e, true));
addEventListener('keyup', e => onKey(e, false));
addEventListener('blur', () => {
    held.clear();
    Object.keys(state.value).forEach(name => KEYS[name] && set(name, 0));
});

function onPad(e) {
    const box = $('pad').getBoundingClientRect();
    set('yaw', ((e.clientX - box.left) / box.width - .5) * 2.4);
    set('pitch', -((e.clientY - box.top) / box.height - .5) * 2.4);
}
$('pad').addEventListener('pointerdown', e => { $('pad').setPointerCapture(e.pointerId); onPad(e); });
$('pad').addEventListener('pointermove', e => { if ($('pad').hasPointerCapture(e.pointerId)) onPad(e); });
for (const end of ['pointerup', 'pointercancel'])
    $('pad').addEventListener(end, () => { set('yaw', 0); set('pitch', 0); });

// Sticks: left turns and looks, right climbs; triggers change the speed.
function readGamepad() {
    const pad = [...(navigator.getGamepads ? navigator.getGamepads() : [])].find(p => p && p.connected);
    if (!pad)
        return;
    const dead = v => Math.abs(v || 0) < .12 ? 0 : v;
    set('yaw', dead(pad.axes[0]));
    set('pitch', -dead(pad.axes[1]));
    set('climb', -dead(pad.axes[3]));
    set('speed', (pad.buttons[7]?.value || 0) - (pad.buttons[6]?.value || 0));
}
addEventListener('gamepadconnected', e => {
    toast(`Gamepad: ${e.gamepad.id.slice(0, 40)}`);
    setInterval(readGamepad, 25);
}, { once: true });

// ---- prompt

export function unknown(words) {
    $('unknown').textContent = words ? `This model does not know: ${words.split(' ').join(', ')}` : '';
}

const wordsOf = text => text.toLowerCase().split(/[^a-z'-]+/).filter(Boolean);

export function markChips() {
    const words = wordsOf($('prompt').value);
    document.querySelectorAll('.chip').forEach(c => c.setAttribute('aria-pressed', words.includes(c.dataset.word)));
}

// The chip's word takes the place of its group's, or is added; a second press takes it out.
function pressChip(chip) {
    const group = state.model.words[chip.dataset.group], is = new Set(wordsOf($('prompt').value));
    const on = !is.has(chip.dataset.word), kept = $('prompt').value.split(/\s+/)
        .filter(w => w && !group.includes(w.toLowerCase()));
    const all = on ? [...kept, chip.dataset.word] : kept;
    $('prompt').value = all.join(' ');
    markChips();
    if (all.length)
        sendPrompt();
}

function sendPrompt() {
    const text = $('prompt').value.trim();
    if (!text)
        return;
    unknown('');
    send({ prompt: text });
}
$('form').addEventListener('submit', e => { e.preventDefault(); sendPrompt(); });
$('prompt').addEventListener('input', markChips);

export function makeChips(words) {
    $('words').replaceChildren(...Object.entries(words).filter(([, list]) => list.length).map(([group, list]) => {
        const set = document.createElement('div'), name = document.createElement('span');
        const chips = document.createElement('div');
        set.className = 'words';
        set.setAttribute('role', 'group');
        set.setAttribute('aria-label', group);
        name.textContent = group;
        chips.className = 'chips';
        set.append(name, chips);
        chips.append(...list.map(word => {
            const chip = document.createElement('button');
            Object.assign(chip, { type: 'button', className: 'chip', textContent: word });
            Object.assign(chip.dataset, { word, group });
            chip.onclick = () => pressChip(chip);
            return chip;
        }));
        return set;
    }));
}

export function makeSliders(controls) {
    $('sliders').replaceChildren(...controls.map(name => {
        const label = document.createElement('label'), out = document.createElement('output');
        const input = document.createElement('input');
        Object.assign(input, { type: 'range', min: -1, max: 1, step: .05, value: 0, id: `c-${name}` });
        Object.assign(out, { id: `o-${name}`, textContent: '0.00' });
        input.oninput = () => set(name, Number(input.value));
        input.ondblclick = () => set(name, 0);
        label.append(name, out, input);
        state.value[name] = state.sent[name] = 0;
        return label;
    }));
    $('pad').hidden = !controls.includes('yaw');
    const key = k => Object.assign(document.createElement('kbd'), { textContent: k });
    $('keys').replaceChildren(...controls.filter(c => KEYS[c]).flatMap(c =>
        [...KEYS[c][2].split(' ').map(key), ` ${c}  `]));
}
