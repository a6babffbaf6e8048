// The review desk: one pair at a time, two players, the clip map, both responses, and one key for each decision.
// A decision shows the next pair at once; the outbox carries it to the server.

const DONE = { accept: 'Accepted', reject: 'Rejected', swap: 'Swapped and accepted', edit: 'Edited and accepted', flag: 'Flagged', skip: 'Skipped',
  reason: 'Rejected', left: 'Response 1 is better:', right: 'Response 2 is better:', tie: 'About equal:' };
const NO_DECISION = { skip: 0, hold: 0, reason: 0, comment: 0, undo: -1 };
const FIXED = [['Ctrl + Enter', 'save an edit, send a comment'], ['Enter', 'press what has the focus'], ['Esc', 'cancel, close, return']];
const ALWAYS = ['undo', 'help', 'palette', 'guidelines', 'back', 'letters', 'closeDrawer', 'return'];

class Desk extends DeskView {
  constructor(mount, data) {
    super();
    this.mount = mount;
    this.blind = data.mode === 'blind';
    this.queue = [];
    this.history = (data.past || []).map((past) => ({ ...past, at: null, shown: null })); // what can be taken back, newest last
    this.hidden = new Map(); // pair id -> version that we already decided on
    this.skipped = new Set();
    this.asking = null; // the rejection whose reason may still be given
    this.looking = null; // the past decision that is looked at; `waiting` is the pair to return to
    this.waiting = null;
    this.wanted = null; // a pair that was asked for by its number: {id, then}
    this.keys = new Keys(data.reviewer);
    this.keys.set(data.keys || {});
    this._build(data);
    this.players = new Players(this.videos('clean'), this.videos(this.blind ? 'clean' : 'perturbed'), {
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
    this.keys.set(data.keys || {});
    this.keys.mark(this.el);
    if (!this.outbox) this._open(data);
    for (const [item, answer] of this.outbox.acknowledge(data.acked || {})) this._answered(item, answer);
    this._takeWanted(data);
    this._takeQueue(data.queue || []);
    if (!this.pair) this._next(); else this.players.preload(this.queue[0]);
    this.players.refresh();
    this.drawer.show(this.pair, data);
    this._theme();
    this._header();
    this._empty();
    this._fit();
  }

  // Adopted reviews are not shown again: their pairs are hidden until the server counts them.
  _open(data) {
    const campaign = data.campaign ? data.campaign.id : null;
    this.outbox = new Outbox(data.reviewer, (value) => this.setState && this.setState('outbox', { ...value, want: this.wanted && this.wanted.id }));
    for (const item of this.outbox.items) if (item.act in DONE && (item.campaign ?? null) === campaign) this.hidden.set(item.pair, item.version);
  }

  _answered(item, answer) {
    if (answer === 'saved') return;
    const { by, verdict, age_s: age, why } = answer.conflict || {};
    this._say(by ? `${by} ${verdict} pair ${item.pair} ${age} s ago; yours was not counted.` : `Pair ${item.pair}: ${why || 'not counted'}`);
  }

  // A pair that was asked for by its number is shown at once; the pair that was shown waits at the head of the queue.
  _takeWanted(data) {
    const { wanted } = this;
    if (!wanted || !data.want || data.want.pair !== wanted.id) return;
    this.wanted = null;
    this.outbox.again();
    const found = (data.queue || []).find((pair) => pair.id === wanted.id);
    if (!found) { this._say(`There is no pair ${wanted.id}.`); return; }
    found.edit = new EditList(found);
    wanted.then(found);
  }

  // Keep our own order (an undone pair waits in front), refresh what we hold, then add what is new; skipped ones last.
  _takeQueue(incoming) {
    const fresh = new Map(incoming.filter((pair) => !((this.hidden.get(pair.id) ?? 0) >= pair.version)).map((pair) => [pair.id, pair]));
    for (const held of [this.pair, this.waiting].filter(Boolean)) {
      const { url, version, sprite_url, comments, history, standing: stands, margin } = fresh.get(held.id) || held;
      Object.assign(held, { url, version, sprite_url, comments: this._withOwn(held.id, comments), history, standing: stands, margin });
      fresh.delete(held.id);
    }
    const kept = this.queue.filter((pair) => fresh.has(pair.id)).map((pair) => fresh.get(pair.id));
    const known = new Set(kept.map((pair) => pair.id));
    const all = [...kept, ...[...fresh.values()].filter((pair) => !known.has(pair.id))];
    this.queue = [...all.filter((pair) => !this.skipped.has(pair.id)), ...all.filter((pair) => this.skipped.has(pair.id))];
    this.queue.forEach((pair) => { pair.edit = new EditList(pair); });
  }

  // ---- deciding -----------------------------------------------------------------------------------------------------
  _send(pair, act, more = {}) {
    return this.outbox.add({ pair: pair.id, version: pair.version, act, of: null, reason: null, chosen: null, rejected: null, note: null, dwell_ms: 0,
      campaign: this.data.campaign ? this.data.campaign.id : null, guideline: this.data.guidelines ? this.data.guidelines.sha256 : null, ...more });
  }

  decide(act, extra = {}) {
    if (!this.pair || (this.responses.editing && act !== 'edit')) return;
    if (this.looking) { this._say('You are looking back. Esc returns to your pair; Undo takes this decision back.'); return; }
    const pair = this.pair;
    const item = this._send(pair, act, { dwell_ms: Math.round(performance.now() - this.shownAt), ...extra });
    this.history.push({ pair: pair.id, shown: pair, act, token: item.token, at: performance.now() });
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
    asked.token = this._send(asked.shown, 'reason', { of: asked.token, reason }).token;
    this.asking = null;
    this._say(`Pair ${asked.pair}: ${reason}.`);
    this._header();
  }

  /** Take back the last decision, or the one that is looked at. */
  undo() {
    const last = this.looking || this.history[this.history.length - 1];
    if (!last) { this._say('Nothing to undo.'); return; }
    this.history = this.history.filter((past) => past !== last);
    this._send({ id: last.pair, version: last.shown ? last.shown.version : 0 }, last.act === 'skip' ? 'hold' : 'undo', { of: last.token });
    this.hidden.delete(last.pair);
    this.skipped.delete(last.pair);
    this.asking = null;
    const waiting = this.looking ? this.waiting : this.pair;
    this.looking = this.waiting = null;
    if (waiting && waiting.id !== last.pair) this.queue.unshift(waiting);
    this.queue = this.queue.filter((pair) => pair.id !== last.pair);
    this._say(`Undid: ${DONE[last.act].toLowerCase()} pair ${last.pair}.`);
    if (last.shown) this._show(last.shown);
    else { this.pair = null; this._next(); this.open(last.pair); } // from before this visit: the server has it
    this._header();
  }

  /** Show a pair by its number, before all others. */
  open(id, then = null) {
    const known = [this.pair, ...this.queue].find((pair) => pair && pair.id === id);
    const show = then || ((pair) => {
      if (this.pair && this.pair.id !== id && !this.looking) this.queue.unshift(this.pair);
      if (this.waiting && this.waiting.id !== id) this.queue.unshift(this.waiting);
      this.looking = this.waiting = null;
      this.hidden.delete(id);
      this.queue = this.queue.filter((other) => other.id !== id);
      this._show(pair);
    });
    if (known && !then) { show(known); return; }
    this.wanted = { id, then: show };
    this.outbox.again();
  }

  // ---- looking back -------------------------------------------------------------------------------------------------
  back() {
    if (this.responses.editing) return;
    const at = this.looking ? this.history.indexOf(this.looking) : this.history.length, past = this.history[at - 1];
    if (!past) { this._say(this.history.length ? 'This is the oldest one here.' : 'No earlier pair yet.'); return; }
    const look = (pair) => {
      if (!this.looking) this.waiting = this.pair;
      past.shown = past.shown || pair;
      this.looking = past;
      past.told = `${DONE[past.act].replace(/:$/, '').toLowerCase()} by you`;
      this._show(past.shown);
      this._say(null, true);
    };
    if (past.shown) look(past.shown); else this.open(past.pair, look);
  }

  return() {
    if (!this.looking) return;
    const pair = this.waiting;
    this.looking = this.waiting = null;
    if (pair) this._show(pair); else this._next();
    this.el.focus({ preventScroll: true });
  }

  comment(pair, text) {
    const item = this._send(pair, 'comment', { note: text });
    (this.own = this.own || []).push({ pair: pair.id, line: [this.data.name || 'you', text, item.at_ms] });
    pair.comments = this._withOwn(pair.id, pair.comments);
    this.drawer.show(pair, this.data);
    this._header();
  }

  // What the server has not shown yet stands in the thread already.
  _withOwn(id, known) {
    const comments = known || []; // a second opinion is given none
    const mine = (this.own || []).filter((said) => said.pair === id && !comments.some(([, text, at]) => text === said.line[1] && at >= said.line[2] - 60000));
    return [...comments, ...mine.map((said) => said.line)];
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
    if (this.map) this.map.show(pair);
    if (this.strip) this.strip.show(pair);
    this.responses.show(pair);
    this.drawer.show(pair, this.data);
    this._tags();
    this._header();
    this._empty();
    afterPicture(() => this.players.preload(this.queue[0]));
  }

  _clear() {
    this.pair = null;
    this.players.clear();
    if (this.map) this.map.clear();
    if (this.strip) this.strip.show(null);
    this.responses.clear();
    this.drawer.show(null, this.data);
    this._header();
    this._empty();
  }

  edit(side) {
    if (!this.pair || this.responses.editing || this.looking) return;
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
      left: () => this.decide('left'), right: () => this.decide('right'), tie: () => this.decide('tie'),
      flag: () => this.decide('flag'), skip: () => this.decide('skip'), undo: () => this.undo(),
      edit: () => this.edit('chosen'), editRejected: () => this.edit('rejected'), save: () => this.save(), cancel: () => this.cancel(),
      play: () => this.players.toggle(), stepBack: () => this.players.step(-1), stepOn: () => this.players.step(1),
      clipBack: () => this.players.clip(-1), clipOn: () => this.players.clip(1), slower: () => this.players.faster(-1),
      faster: () => this.players.faster(1), speed: () => this.players.setSpeed(SPEEDS[(SPEEDS.indexOf(this.players.speed) + 1) % SPEEDS.length]),
      loop: () => this.players.toggleLoop(), lock: () => this.players.toggleLock(), diff: () => this._diff(), frames: () => this._frames(),
      guidelines: () => this.drawer.toggle('guidelines', this.pair, this.data), comment: () => this.drawer.toggle('comments', this.pair, this.data),
      history: () => this.drawer.toggle('history', this.pair, this.data), closeDrawer: () => this.drawer.close(), sendComment: () => this.drawer.sent(),
      back: () => this.back(), return: () => this.return(), palette: () => this.palette.show(),
      help: () => (this.help.open ? this.help.close() : this._help()), letters: () => { this.keys.switchLetters(); this.keys.mark(this.el); this._help(); },
    };
    if (this.pair || ALWAYS.includes(name)) acts[name]?.();
  }

  _help() {
    this.help.show(this.data.words || {}, this.blind ? [['1', 'response 1 is better'], ['2', 'response 2 is better'], ['0', 'about equal'], ...FIXED] : FIXED);
  }

  _diff() {
    const mode = this.responses.nextMode();
    this._say({ order: 'Differences: order and words', words: 'Differences: words only', off: 'Differences hidden' }[mode]);
  }

  // The strip takes the place of the map, so that nothing below it moves.
  _frames() {
    const open = !this.strip.open;
    if (open) this.strip.element.hidden = false; else this.strip.close();
    this.map.element.hidden = open;
    this.strip.show(this.pair);
    this.el.querySelector('[data-act="frames"]').setAttribute('aria-pressed', String(open));
  }

  _choices() {
    const acts = Object.entries(this.data.words || {}).map(([act, told]) => ({ label: told[0].toUpperCase() + told.slice(1), kind: '', key: this.keys.shown(act), run: () => this.act(act) }));
    const views = (this.data.views || []).map(({ name, url }) => ({ label: name, kind: 'saved view', run: () => location.assign(url) }));
    return [...pages(), ...views, ...acts.filter(({ label }) => label)];
  }

  // ---- keys ---------------------------------------------------------------------------------------------------------
  // Streamlit has keys of its own (R reruns, C clears caches): an owned key is stopped before it in both phases.
  _key(event, down) {
    if (!this.mount.isConnected || !event.key) return; // a browser that fills in a form sends events without a key
    const path = event.composedPath(), target = path[0];
    if (['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName) || target.isContentEditable) {
      if (path.includes(this.el)) this._fieldKey(event, down, path);
      return;
    }
    if (event.key === 'Enter' && event.repeat && path.includes(this.el)) event.preventDefault(); // no volley from a held Enter
    if (this.help.open || this.palette.open) { this._dialogKey(event, down); return; }
    if (event.key === 'Escape' && (this.looking || this.drawer.kind)) {
      this._own(event);
      if (down && this.drawer.kind) this.drawer.close(); else if (down) this.return();
      return;
    }
    if (target.classList?.contains('cell') && /^Arrow/.test(event.key) && !event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey) {
      this._own(event);
      if (down) walk([...target.getRootNode().querySelectorAll(target.matches('.frame') ? '.frame' : '.cells .cell')], target, event.key);
      return;
    }
    const act = this._digit(event) ?? this.keys.act(event);
    if (act === null || (event.key === ' ' && !path.includes(this.el) && target.closest?.('button, a, summary, [role="button"]'))) return;
    this._own(event);
    if (!down || (event.repeat && !['stepBack', 'stepOn'].includes(act))) return;
    if (typeof act === 'number') this.reason(act); else this.act(act);
  }

  _own(event) {
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  // Digits answer: why a pair was rejected, or which response is the better one.
  _digit(event) {
    if (!/^[0-9]$/.test(event.key) || event.ctrlKey || event.metaKey || event.altKey || !this.keys.letters) return null;
    if (this.blind) return BLIND_DIGITS[event.key] ?? null;
    return this.asking && event.key !== '0' ? Number(event.key) : null;
  }

  // Inside a dialog the keys are the dialog's; none reaches Streamlit, and its own key shuts it again.
  _dialogKey(event, down) {
    event.stopImmediatePropagation();
    if (this.keys.act(event) !== 'help' || !this.help.open) return;
    event.preventDefault();
    if (down && !event.repeat) this.help.close();
  }

  _fieldKey(event, down, path) {
    const saves = event.key === 'Enter' && (event.ctrlKey || event.metaKey), leaves = event.key === 'Escape';
    // Letters typed here are text; they must reach neither our keys nor Streamlit's.
    event.stopImmediatePropagation();
    if (path.includes(this.palette.element)) {
      if (down ? this.palette.key(event) : event.key === 'Enter') event.preventDefault();
      return;
    }
    if (!saves && !leaves) return;
    event.preventDefault();
    if (!down) return;
    if (path.includes(this.drawer.element)) this.act(saves ? 'sendComment' : 'closeDrawer'); else this.act(saves ? 'save' : 'cancel');
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
      // A button that is gone after its click must not take the focus with it.
      if (!clicked.isConnected && !this.el.contains(this.el.getRootNode().activeElement)) this.el.focus({ preventScroll: true });
    });
    this.onResize = () => this._fit();
    window.addEventListener('resize', this.onResize);
  }

  close() {
    window.removeEventListener('keydown', this.onKeyDown, true);
    window.removeEventListener('keyup', this.onKeyUp, true);
    window.removeEventListener('resize', this.onResize);
    cancelAnimationFrame(this.frame);
    this.outbox?.close();
    this.players.release();
    if (this.strip) this.strip.close();
  }
}

export default function ({ data, parentElement, setStateValue }) {
  const mount = parentElement.querySelector('.mount'), said = JSON.parse(new TextDecoder().decode(data));
  const desk = mount.desk || (mount.desk = new Desk(mount, said));
  desk.update(said, setStateValue);
  return () => { desk.close(); mount.desk = null; };
}
