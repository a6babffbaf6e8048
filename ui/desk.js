// The review desk: one pair at a time, two players, the clip map, both responses, and one key for each decision.
// A decision shows the next pair at once; the outbox carries it to the server.

const LEVELS = { 1: 'easy', 2: 'medium', 3: 'hard', 4: 'hardest' };
const DONE = { accept: 'Accepted', reject: 'Rejected', swap: 'Swapped and accepted', edit: 'Edited and accepted', flag: 'Flagged', skip: 'Skipped' };
const KEYS = { a: 'accept', r: 'reject', s: 'swap', e: 'edit', E: 'editRejected', f: 'flag', n: 'skip', u: 'undo', ' ': 'play',
  ArrowLeft: 'stepBack', ArrowRight: 'stepOn', 'Shift+ArrowLeft': 'clipBack', 'Shift+ArrowRight': 'clipOn',
  '[': 'slower', ']': 'faster', l: 'loop', m: 'lock', d: 'diff', '?': 'help' };
const HELP = [['A', 'accept'], ['Space', 'play / pause both'], ['R, then 1-6', 'reject; why'], ['← →', 'one frame'],
  ['S', 'swap sides and accept'], ['Shift + ← →', 'previous / next clip'], ['E', 'edit chosen'], ['[ ]', 'slower / faster'],
  ['Shift + E', 'edit rejected'], ['L', 'loop this clip on both sides'], ['F', 'flag for a second opinion'],
  ['M', 'lock by time / by content'], ['N', 'skip, decide later'], ['D', 'differences: order / words / off'],
  ['U, Ctrl + Z', 'undo, any depth'], ['Ctrl + Enter', 'save an edit'], ['?', 'this help'], ['Esc', 'cancel, close']];

class Desk {
  constructor(mount) {
    this.mount = mount;
    this.queue = [];
    this.history = []; // decisions of this visit, newest last: {pair, act, token, at}
    this.hidden = new Map(); // pair id -> version that we already decided on
    this.skipped = new Set();
    this.asking = null; // the rejection whose reason may still be given
    this._build();
    this.players = new Players(this.videos('clean'), this.videos('perturbed'), {
      onChange: () => this._transport(),
      onLost: () => this.outbox && this.outbox.again(),
    });
    this._listen();
    const draw = () => { this._tick(); this.frame = requestAnimationFrame(draw); };
    this.frame = requestAnimationFrame(draw);
  }

  videos(side) {
    return [...this.el.querySelectorAll(`.player.${side} video`)];
  }

  // ---- what the server says -----------------------------------------------------------------------------------------
  update(data, setState) {
    this.data = data;
    this.setState = setState;
    if (!this.outbox) this._open(data);
    for (const [item, answer] of this.outbox.acknowledge(data.acked || {})) this._answered(item, answer);
    this._takeQueue(data.queue || []);
    if (!this.pair) this._next(); else this.players.preload(this.queue[0]);
    this._theme();
    this._header();
    this._empty();
  }

  // Adopted reviews are not shown again: their pairs are hidden until the server counts them.
  _open(data) {
    this.outbox = new Outbox(data.reviewer, (value) => this.setState && this.setState('outbox', value));
    for (const item of this.outbox.items) if (item.act in DONE) this.hidden.set(item.pair, item.version);
  }

  _answered(item, answer) {
    if (answer === 'saved') return;
    const { by, verdict, age_s: age, why } = answer.conflict || {};
    this._say(by ? `${by} ${verdict} pair ${item.pair} ${age} s ago; yours was not counted.` : `Pair ${item.pair}: ${why || 'not counted'}`);
  }

  // Keep our own order (an undone pair waits in front), refresh what we hold, then add what is new; skipped ones last.
  _takeQueue(incoming) {
    const fresh = new Map(incoming.filter((pair) => !((this.hidden.get(pair.id) ?? 0) >= pair.version)).map((pair) => [pair.id, pair]));
    const current = this.pair && fresh.get(this.pair.id);
    if (current) Object.assign(this.pair, { url: current.url, version: current.version, sprite_url: current.sprite_url });
    fresh.delete(this.pair && this.pair.id);
    const kept = this.queue.filter((pair) => fresh.has(pair.id)).map((pair) => fresh.get(pair.id));
    const known = new Set(kept.map((pair) => pair.id));
    const all = [...kept, ...[...fresh.values()].filter((pair) => !known.has(pair.id))];
    this.queue = [...all.filter((pair) => !this.skipped.has(pair.id)), ...all.filter((pair) => this.skipped.has(pair.id))];
    this.queue.forEach((pair) => { pair.edit = new EditList(pair); });
  }

  // ---- deciding -----------------------------------------------------------------------------------------------------
  decide(act, extra = {}) {
    if (!this.pair || (this.responses.editing && act !== 'edit')) return;
    const pair = this.pair;
    const item = this.outbox.add({ pair: pair.id, version: pair.version, act, of: null, reason: null, chosen: null, rejected: null, note: null,
      dwell_ms: Math.round(performance.now() - this.shownAt), ...extra });
    this.history.push({ pair, act, token: item.token, at: performance.now() });
    if (act === 'skip') this.skipped.add(pair.id); else this.hidden.set(pair.id, pair.version);
    this.asking = act === 'reject' ? this.history[this.history.length - 1] : null;
    this._next();
    this._say(act === 'reject' ? null : `${DONE[act]} pair ${pair.id}.`);
    this._header();
  }

  reason(number) {
    const reason = (this.data.reasons || [])[number - 1];
    if (!this.asking || !reason) return;
    const asked = this.asking;
    const item = this.outbox.add({ pair: asked.pair.id, version: asked.pair.version, act: 'reason', of: asked.token, reason, chosen: null,
      rejected: null, note: null, dwell_ms: 0 });
    asked.token = item.token;
    this.asking = null;
    this._say(`Pair ${asked.pair.id}: ${reason}.`);
    this._header();
  }

  undo() {
    const last = this.history.pop();
    if (!last) { this._say('Nothing to undo in this visit.'); return; }
    if (last.act !== 'skip') {
      this.outbox.add({ pair: last.pair.id, version: last.pair.version, act: 'undo', of: last.token, reason: null, chosen: null, rejected: null,
        note: null, dwell_ms: 0 });
    }
    this.hidden.delete(last.pair.id);
    this.skipped.delete(last.pair.id);
    this.asking = null;
    if (this.pair && this.pair.id !== last.pair.id) this.queue.unshift(this.pair);
    this.queue = this.queue.filter((pair) => pair.id !== last.pair.id);
    this._show(last.pair);
    this._say(`Undid: ${DONE[last.act].toLowerCase()} pair ${last.pair.id}.`);
    this._header();
  }

  _next() {
    const pair = this.queue.shift();
    if (pair) this._show(pair); else this._clear();
  }

  _show(pair) {
    this.pair = pair;
    this.shownAt = performance.now();
    this.lastDrawn = '';
    this.players.show(pair);
    this.map.show(pair);
    this.responses.show(pair);
    this._tags();
    this._header();
    this._empty();
    setTimeout(() => this.players.preload(this.queue[0]), 0);
  }

  _clear() {
    this.pair = null;
    this.players.clear();
    this.map.clear();
    this.responses.clear();
    this._header();
    this._empty();
  }

  edit(side) {
    if (!this.pair || this.responses.editing) return;
    this.players.pause();
    this.responses.edit(side);
  }

  save() {
    const side = this.responses.editing;
    if (!side) return;
    const text = this.responses.edited();
    if (!text.trim()) { this._say('An empty response can not be saved.'); return; }
    this.responses.editing = null;
    this.decide('edit', { [side]: text });
    this.el.focus({ preventScroll: true });
  }

  cancel() {
    this.responses.show(this.pair);
    this.el.focus({ preventScroll: true });
  }

  act(name) {
    const acts = {
      accept: () => this.decide('accept'), reject: () => this.decide('reject'), swap: () => this.decide('swap'),
      flag: () => this.decide('flag'), skip: () => this.decide('skip'), undo: () => this.undo(),
      edit: () => this.edit('chosen'), editRejected: () => this.edit('rejected'), save: () => this.save(), cancel: () => this.cancel(),
      play: () => this.players.toggle(), stepBack: () => this.players.step(-1), stepOn: () => this.players.step(1),
      clipBack: () => this.players.clip(-1), clipOn: () => this.players.clip(1), slower: () => this.players.faster(-1),
      faster: () => this.players.faster(1), speed: () => this.players.setSpeed(SPEEDS[(SPEEDS.indexOf(this.players.speed) + 1) % SPEEDS.length]),
      loop: () => this.players.toggleLoop(), lock: () => this.players.toggleLock(), diff: () => this._diff(),
      help: () => (this.help.open ? this.help.close() : this.help.showModal()),
    };
    if (this.pair || ['undo', 'help'].includes(name)) acts[name]?.();
  }

  _diff() {
    const mode = this.responses.nextMode();
    this._say({ order: 'Differences: order and words', words: 'Differences: words only', off: 'Differences hidden' }[mode]);
  }

  // ---- keys ---------------------------------------------------------------------------------------------------------
  // Streamlit has keys of its own (R reruns, C clears caches): an owned key is stopped before it in both phases.
  _key(event, down) {
    if (!this.mount.isConnected) return;
    const path = event.composedPath(), target = path[0];
    if (['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName) || target.isContentEditable) {
      if (path.includes(this.el)) this._fieldKey(event, down);
      return;
    }
    if (event.key === 'Enter' && event.repeat && path.includes(this.el)) event.preventDefault(); // no volley from a held Enter
    const act = this._actOf(event);
    if (!act || (event.key === ' ' && !path.includes(this.el) && target.closest?.('button, a, summary, [role="button"]'))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!down || (event.repeat && !['stepBack', 'stepOn'].includes(act))) return;
    if (this.help.open && act !== 'help') return;
    if (typeof act === 'number') this.reason(act); else this.act(act);
  }

  _actOf(event) {
    const key = event.key, arrow = key.startsWith('Arrow') && event.shiftKey ? `Shift+${key}` : key;
    if (event.ctrlKey || event.metaKey) return key.toLowerCase() === 'z' && !event.shiftKey && !event.altKey ? 'undo' : null;
    if (event.altKey) return null;
    if (/^[1-9]$/.test(key)) return this.asking ? Number(key) : null;
    if (arrow in KEYS) return KEYS[arrow];
    const letter = key.length === 1 && key.toLowerCase() in KEYS ? KEYS[key.toLowerCase()] : null;
    // On a layout without Latin letters the place of the key counts.
    return letter || (/^[^\x00-\x7f]$/.test(key) && /^Key[A-Z]$/.test(event.code) ? KEYS[event.code[3].toLowerCase()] ?? null : null);
  }

  _fieldKey(event, down) {
    const saves = event.key === 'Enter' && (event.ctrlKey || event.metaKey), leaves = event.key === 'Escape';
    // Letters typed here are text; they must reach neither our keys nor Streamlit's.
    event.stopImmediatePropagation();
    if (!saves && !leaves) return;
    event.preventDefault();
    if (down) this.act(saves ? 'save' : 'cancel');
  }

  _listen() {
    this.onKeyDown = (event) => this._key(event, true);
    this.onKeyUp = (event) => this._key(event, false);
    window.addEventListener('keydown', this.onKeyDown, true);
    window.addEventListener('keyup', this.onKeyUp, true);
    this.el.addEventListener('click', (event) => {
      const clicked = event.target.closest('[data-act], [data-reason], .stage');
      if (!clicked) return;
      if (clicked.dataset.reason) this.reason(Number(clicked.dataset.reason));
      else this.act(clicked.dataset.act || 'play');
    });
    this.help.addEventListener('click', (event) => { if (event.target === this.help) this.help.close(); });
  }

  close() {
    window.removeEventListener('keydown', this.onKeyDown, true);
    window.removeEventListener('keyup', this.onKeyUp, true);
    cancelAnimationFrame(this.frame);
    this.outbox?.close();
    this.players.release();
  }

  // ---- drawing ------------------------------------------------------------------------------------------------------
  _build() {
    this.map = new ClipMap({ onSeek: (side, seconds) => this.players.seek(side, seconds) });
    this.responses = new Responses();
    this.top = h('header', { class: 'top' });
    this.said = h('div', { class: 'said', role: 'status', 'aria-live': 'polite' });
    this.time = h('span', { class: 'time' });
    this.asked = h('span', { class: 'asked' });
    this.playButton = button('play', '', { key: 'Space', pictured: 'play', title: 'Play both' });
    this.speedButton = button('speed', '1×', { kind: 'speed', title: 'Speed ([ and ])' });
    this.loopButton = button('loop', '', { key: 'L', pictured: 'loop', title: 'Loop this clip' });
    this.lockButton = button('lock', '', { kind: 'lock' });
    this.help = helpDialog();
    this.empty = h('div', { class: 'empty', role: 'status' });
    this.el = h('div', { class: 'desk', tabindex: '-1' }, this.top,
      h('div', { class: 'players' }, player('clean'), player('perturbed')),
      h('div', { class: 'transport' },
        h('div', { class: 'row' }, button('clipBack', '', { key: 'Shift+←', pictured: 'clipBack', title: 'Previous clip' }),
          button('stepBack', '', { key: '←', pictured: 'stepBack', title: 'One frame back' }), this.playButton,
          button('stepOn', '', { key: '→', pictured: 'stepOn', title: 'One frame on' }),
          button('clipOn', '', { key: 'Shift+→', pictured: 'clipOn', title: 'Next clip' }), this.time),
        this.asked,
        h('div', { class: 'row' }, this.speedButton, this.loopButton, this.lockButton, button('help', '?', { kind: 'square', title: 'All keys (?)' }))),
      this.map.element, this.responses.element,
      h('footer', { class: 'bar' }, h('div', { class: 'acts' },
        button('accept', 'Accept', { key: 'A', kind: 'accept' }), button('reject', 'Reject', { key: 'R', kind: 'reject' }),
        button('swap', 'Swap', { key: 'S', title: 'The rejected response is the better one: swap sides and accept' }),
        button('edit', 'Edit', { key: 'E', title: 'Edit the chosen response' }), button('flag', 'Flag', { key: 'F', title: 'Ask for a second opinion' }),
        button('skip', 'Skip', { key: 'N', title: 'Decide later' }), button('undo', 'Undo', { key: 'U' })), this.said),
      this.empty, this.help);
    this.mount.replaceChildren(this.el);
  }

  _theme() {
    const colour = getComputedStyle(this.el).getPropertyValue('--st-background-color').trim();
    const hex = /^#(..)(..)(..)/.exec(colour);
    this.el.classList.toggle('dark', Boolean(hex) && luminance(hex.slice(1).map((x) => parseInt(x, 16))) < 0.4);
  }

  _header() {
    const { pair, data } = this;
    if (!data) return;
    const left = pair ? [h('span', { class: 'id', dataset: { testid: 'pair' } }, `Pair ${pair.id}`), ...chips(pair)] : [h('span', { class: 'id' }, 'Review')];
    // What waits in the outbox counts as done already; skips and reasons are no decisions.
    const waiting = this.outbox.items.reduce((n, item) => n + ({ skip: 0, reason: 0, undo: -1 }[item.act] ?? 1), 0);
    const { done = 0, total = 0 } = data.counts || {}, now = clamp(done + waiting, 0, total);
    const [saved, state] = this.outbox.told();
    this.saved = h('span', { class: `saved ${state}`, dataset: { testid: 'save' }, role: 'status', 'aria-live': 'polite' }, saved);
    this.top.replaceChildren(...left, h('span', { class: 'space' }), h('span', { class: 'muted' }, `${now} of ${total}`),
      h('span', { class: 'progress', role: 'progressbar', 'aria-valuenow': now, 'aria-valuemin': 0, 'aria-valuemax': total, 'aria-label': 'Reviewed' },
        h('i', { style: { width: `${total ? (100 * now) / total : 0}%` } })), ...[pace(this.history, total - now)].filter(Boolean), this.saved);
  }

  _tags() {
    const { pair } = this, kind = pair.kind[0].toUpperCase() + pair.kind.slice(1);
    this.el.querySelector('.player.clean .name').replaceChildren(h('b', {}, 'Clean'));
    this.el.querySelector('.player.perturbed .name').replaceChildren(h('b', {}, kind), pair.magnitude ? ` r=${pair.magnitude}` : '');
    const asked = { captions: 'Asked about clip captions', video: 'Asked about the frames', clips: 'Asked clip by clip' }[pair.input] || 'Asked';
    this.asked.replaceChildren(h('b', {}, `${asked}: `), pair.prompt);
    this.asked.title = pair.prompt;
  }

  _transport() {
    const p = this.players;
    this.playButton.replaceChildren(icon(p.playing ? 'pause' : 'play'));
    this.playButton.setAttribute('aria-label', p.playing ? 'Pause both' : 'Play both');
    this.speedButton.firstChild.textContent = `${p.speed}×`;
    this.loopButton.setAttribute('aria-pressed', String(p.loop !== null));
    this.lockButton.replaceChildren(icon('link'), h('span', {}, p.lock === 'time' ? 'Locked by time' : 'Locked by content'), h('kbd', {}, 'M'));
    this.lockButton.title = p.lock === 'time' ? 'Both sides show the same moment of their own video (M)' : 'Both sides show the same moment of the same clip (M)';
    for (const side of ['clean', 'perturbed']) {
      const text = this.pair ? p.trouble(side) : '';
      const trouble = this.el.querySelector(`.player.${side} .trouble`);
      trouble.textContent = text;
      trouble.hidden = !text;
    }
  }

  _empty() {
    this.el.classList.toggle('nopair', !this.pair);
    if (this.pair || !this.data) return;
    const waiting = this.outbox.items.length, { done = 0, total = 0 } = this.data.counts || {};
    const text = waiting ? [`Waiting for the server; ${waiting} ${waiting === 1 ? 'review is' : 'reviews are'} kept here.`]
      : [h('b', {}, total > done ? 'Nothing free to review right now' : 'All reviewed'), h('p', {}, total > done
        ? 'Other reviewers hold the pairs that are left. They come back in a few minutes if nobody decides.'
        : `${done} of ${total} pairs here have a decision. U brings the last one back; the Curriculum page comes next.`)];
    this.empty.replaceChildren(...text);
  }

  _say(text) {
    const reasons = this.data.reasons || [];
    if (text !== null) { this.said.replaceChildren(h('span', { class: 'toast' }, text)); return; }
    this.said.replaceChildren(h('span', { class: 'why' }, `Rejected pair ${this.asking.pair.id}. Why?`), h('div', { class: 'reasons' },
      ...reasons.map((reason, i) => h('button', { type: 'button', dataset: { reason: i + 1 } }, h('kbd', {}, String(i + 1)), reason))));
  }

  _tick() {
    if (!this.data) return;
    this.players.tick();
    const now = performance.now();
    if (now - (this.lastSlow || 0) > 1000) { this.lastSlow = now; this._theme(); this._saveState(); }
    if (!this.pair) return;
    const { players: p } = this, { edit } = this.pair, clean = p.a.currentTime, shown = p.shownTime();
    const drawn = `${clean.toFixed(2)}|${shown.toFixed(2)}|${p.ended()}|${p.loop}`;
    if (drawn === this.lastDrawn) return;
    this.lastDrawn = drawn;
    const clip = edit.clipAt(clean), here = edit.segments[p.segment];
    this.map.at(clean, shown, clip, here.shown);
    this.el.querySelector('.player.clean .now').textContent = clip < 0 ? 'between clips' : `clip ${clip + 1}`;
    this.el.querySelector('.player.perturbed .now').textContent = `clip ${here.clip + 1}, shown ${ordinal(here.shown + 1)}`;
    this.time.textContent = p.lock === 'content' ? `${clock(shown)} / ${clock(edit.shownLength)}` : `${clock(clean)} / ${clock(edit.fileLength)}`;
    const gone = p.loop !== null && !edit.order.includes(p.loop);
    for (const side of ['clean', 'perturbed']) {
      const tag = this.el.querySelector(`.player.${side} .ended`);
      tag.textContent = gone && side === 'perturbed' ? 'this clip was dropped' : 'ended';
      tag.hidden = !(p.ended() === side || (gone && side === 'perturbed'));
    }
  }

  _saveState() {
    const [told, state] = this.outbox.told();
    if (this.saved && this.saved.textContent !== told) { this.saved.textContent = told; this.saved.className = `saved ${state}`; this._empty(); }
  }
}

// ---- pieces ---------------------------------------------------------------------------------------------------------
function player(side) {
  const video = () => { const made = h('video', { playsinline: true, preload: 'auto', tabindex: '-1' }); made.muted = true; return made; };
  return h('div', { class: `player ${side}` }, h('span', { class: 'tag name' }), h('span', { class: 'tag now' }),
    h('div', { class: 'stage' }, video(), video()), h('span', { class: 'tag ended', hidden: true }, 'ended'), h('div', { class: 'trouble', hidden: true }));
}

function chips(pair) {
  const { level, value, axis } = pair.difficulty || {}, edit = pair.edit;
  const chip = (title, ...inside) => h('span', { class: 'chip', title }, ...inside);
  const kept = `${edit.order.length} of ${edit.ranges.length} clips`;
  const aliases = (pair.aliases || []).length ? `On this video r=${pair.magnitude} gives the same as r=${pair.aliases.join(', r=')}` : 'Kind and strength r of the perturbation';
  const made = [
    level ? h('span', { class: `chip level l${level}`, title: axis === 'measured' ? `Measured difficulty ${value.toFixed(2)} (1 = hard), compared inside ${pair.kind}` : 'Difficulty by r' },
      h('span', { class: 'meter', 'aria-hidden': 'true' }, ...[1, 2, 3, 4].map((n) => h('i', { class: n <= level ? 'on' : '', style: { height: `${3 * n}px` } }))), h('b', {}, LEVELS[level]))
      : chip('Not made here: no plan, so no measured difficulty', 'imported'),
    chip(aliases, pair.kind, pair.magnitude ? h('b', {}, `r=${[pair.magnitude, ...(pair.aliases || [])].sort((x, y) => x - y).join('=')}`) : null),
    chip('Clips of the clean video that the perturbed one still has', kept, ' kept'),
    pair.diff.order_kept === null ? null : chip('Share of matched sentences that both responses tell in the same order', 'order kept', h('b', {}, `${Math.round(100 * pair.diff.order_kept)}%`)),
    edit.order.length === edit.ranges.length && edit.order.every((clip, j) => clip === j) ? h('span', { class: 'chip warn' }, 'no change: the order is the true one') : null,
    checks(pair.checks || []),
  ];
  return made.filter(Boolean);
}

// Every filter with what it measured; the failed ones are named, the others are one click away.
function checks(all) {
  if (!all.length) return null;
  const failed = all.filter((check) => !check.passed);
  const line = (check) => h('li', { class: check.passed ? '' : 'failed' }, h('b', {}, check.name.replaceAll('_', ' ')),
    h('span', {}, check.value === null ? '' : Number(check.value).toFixed(2)), h('span', { class: 'muted' }, check.rule));
  return h('details', { class: `checks ${failed.length ? 'warn' : ''}` }, h('summary', { class: 'chip' }, failed.length ? `${failed.length} of ${all.length} checks failed`
    : `${all.length} checks passed`), h('ul', {}, ...all.map(line)));
}

/** How fast this visit goes, and how long the rest takes at that pace; nothing before five decisions. */
function pace(history, left) {
  const recent = history.filter((past) => past.act !== 'skip').slice(-20);
  if (recent.length < 5) return null;
  const each = (recent[recent.length - 1].at - recent[0].at) / (recent.length - 1) / 1000;
  const minutes = Math.ceil((left * each) / 60);
  return h('span', { class: 'muted', title: `${each.toFixed(1)} s a pair in your last ${recent.length}` }, left <= 0 ? '' : minutes < 90 ? `${minutes} min left` : `${(minutes / 60).toFixed(1)} h left`);
}

function helpDialog() {
  return h('dialog', { 'aria-label': 'Keys' }, h('div', { class: 'helpbox' }, h('h3', {}, 'Keys'),
    h('dl', {}, ...HELP.flatMap(([key, told]) => [h('dt', {}, h('kbd', {}, key)), h('dd', {}, told)])),
    h('div', { class: 'row end' }, button('help', 'Close', { key: 'Esc' }))));
}

export default function ({ data, parentElement, setStateValue }) {
  const mount = parentElement.querySelector('.mount');
  const desk = mount.desk || (mount.desk = new Desk(mount));
  desk.update(JSON.parse(new TextDecoder().decode(data)), setStateValue);
  return () => { desk.close(); mount.desk = null; };
}
