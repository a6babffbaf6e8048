// How the desk is built and drawn. What it does is in desk.js.

class DeskView {
  _build(data) {
    this.header = new Header();
    this.responses = this.blind ? new BlindResponses() : new Responses();
    this.drawer = new Drawer({ onComment: (pair, text) => this.comment(pair, text) });
    this.help = new Help(this.keys);
    this.palette = new Palette({ choices: () => this._choices(), onPair: data.campaign ? null : (id) => this.open(id) });
    this.said = h('div', { class: 'said', role: 'status', 'aria-live': 'polite' });
    this.empty = h('div', { class: 'empty', role: 'status' });
    this.work = h('div', { class: 'work' }, ...(this.blind ? this._blindParts() : this._parts()), this.empty);
    const acts = (this.blind ? blindActs() : [button('accept', 'Accept', { kind: 'accept' }), button('reject', 'Reject', { kind: 'reject' }),
      button('swap', 'Swap', { title: 'The rejected response is the better one: swap sides and accept' }),
      'edit' in data.keys ? button('edit', 'Edit', { title: 'Edit the chosen response' }) : null, button('flag', 'Flag', { title: 'Ask for a second opinion' })]).filter(Boolean);
    this.el = h('div', { class: `desk ${this.blind ? 'blind' : ''}`, tabindex: '-1' }, this.header.element, this.work,
      h('footer', { class: 'bar' }, h('div', { class: 'acts', style: { '--acts': acts.length + 2 } }, ...acts, button('skip', 'Skip', { title: 'Decide later' }), button('undo', 'Undo', { title: 'Take back the last decision' })), this.said),
      this.drawer.element, this.help.element, this.palette.element);
    this.mount.replaceChildren(this.el);
    pages();
    collapseSidebar();
  }

  _transportRow(...right) {
    this.time = h('span', { class: 'time' });
    this.asked = h('span', { class: 'asked' });
    this.playButton = button('play', '', { pictured: 'play', title: 'Play both' });
    this.speedButton = button('speed', '1×', { kind: 'speed', title: 'Speed', keyed: false });
    const clips = (act, title) => (this.blind ? null : button(act, '', { pictured: act, title }));
    return h('div', { class: 'transport' },
      h('div', { class: 'row' }, ...[clips('clipBack', 'Previous clip'), button('stepBack', '', { pictured: 'stepBack', title: 'One frame back' }), this.playButton,
        button('stepOn', '', { pictured: 'stepOn', title: 'One frame on' }), clips('clipOn', 'Next clip'), this.time].filter(Boolean)),
      this.asked,
      h('div', { class: 'row' }, this.speedButton, ...right, button('guidelines', '', { pictured: 'guidelines', title: 'Guidelines' }),
        ...(this.blind ? [] : [button('comment', '', { pictured: 'comment', title: 'Comments' })]),
        button('palette', '', { pictured: 'palette', title: 'Find a page, a pair or an act' }), button('help', '?', { kind: 'square', title: 'All keys', keyed: false })));
  }

  _parts() {
    this.map = new ClipMap({ onSeek: (side, seconds) => this.players.seek(side, seconds) });
    this.strip = new FrameStrip({ onSeek: (side, seconds) => { this.players.pause(); this.players.seek(side, seconds); } });
    this.loopButton = button('loop', '', { pictured: 'loop', title: 'Loop this clip on both sides' });
    this.lockButton = button('lock', 'Locked by time', { kind: 'lock' });
    this.lockButton.prepend(icon('link'));
    return [h('div', { class: 'players' }, player('clean'), player('perturbed')),
      this._transportRow(this.loopButton, this.lockButton, button('frames', '', { pictured: 'frames', title: 'Frames that the model saw' })),
      h('div', { class: 'panel' }, this.map.element, this.strip.element), this.responses.element];
  }

  _blindParts() {
    return [h('div', { class: 'players' }, player('clean')), this._transportRow(), this.responses.element];
  }

  // The desk fills what is below it; only when that is too little does it scroll, and never under its own buttons.
  _fit() {
    const above = this.el.getBoundingClientRect().top + (this.el.closest('.stMain')?.scrollTop ?? document.querySelector('[data-testid="stMain"]')?.scrollTop ?? 0);
    this.el.style.setProperty('--above', `${Math.max(0, Math.round(above))}px`);
  }

  // Streamlit's dialog about a lost connection makes the page inert; the desk goes on without the server.
  _stayUsable() {
    const dialog = document.querySelector('[data-testid="stDialog"]');
    if (!dialog) return;
    dialog.querySelector('button')?.click(); // else it would take the next click for itself
    for (let e = this.mount.getRootNode().host; e; e = e.parentElement) if (e.inert) { e.inert = false; e.removeAttribute('aria-hidden'); }
  }

  _theme() {
    const colour = getComputedStyle(this.el).getPropertyValue('--st-background-color').trim();
    const hex = /^#(..)(..)(..)/.exec(colour);
    this.el.classList.toggle('dark', Boolean(hex) && luminance(hex.slice(1).map((x) => parseInt(x, 16))) < 0.4);
  }

  _header() {
    const { pair, data } = this;
    if (!data) return;
    this.header.show(pair, this.looking, data.campaign);
    this.el.classList.toggle('looking', Boolean(this.looking));
    this.el.querySelectorAll('.acts button').forEach((made) => made.setAttribute('aria-disabled', String(Boolean(this.looking) && made.dataset.act !== 'undo')));
    this.keys.mark(this.header.element);
    // What waits in the outbox counts as done already.
    const waiting = this.outbox.items.reduce((n, item) => n + (NO_DECISION[item.act] ?? 1), 0);
    const { done = 0, total = 0 } = data.counts || {}, now = clamp(done + waiting, 0, total);
    this.header.reached(now, total, pace(this.history, total - now));
    this.header.state(this.outbox.told());
    const comments = pair && (pair.comments || []).length, talk = this.el.querySelector('[data-act="comment"]');
    if (talk) { talk.dataset.count = comments || ''; talk.setAttribute('aria-label', comments ? `Comments (${comments})` : 'Comments'); }
  }

  _tags() {
    const { pair } = this;
    this.el.querySelector('.player.clean .name').replaceChildren(h('b', {}, this.blind ? 'Video' : 'Clean'));
    const asked = pair.given ? 'Asked about captions of the data set' : { captions: 'Asked about clip captions', video: 'Asked about the frames', clips: 'Asked clip by clip' }[pair.input] || 'Asked';
    this.asked.replaceChildren(h('b', {}, `${asked}: `), pair.prompt);
    this.asked.title = pair.prompt;
    if (this.blind) return;
    const kind = pair.kind === 'imported' ? 'The same video: the order is not known' : pair.kind[0].toUpperCase() + pair.kind.slice(1);
    this.el.querySelector('.player.perturbed .name').replaceChildren(h('b', {}, kind), pair.magnitude ? ` r=${pair.magnitude}` : '');
  }

  _transport() {
    const p = this.players;
    this.playButton.replaceChildren(icon(p.playing ? 'pause' : 'play'));
    this.playButton.setAttribute('aria-label', p.playing ? 'Pause' : 'Play');
    this.speedButton.firstChild.textContent = `${p.speed}×`;
    this.speedButton.title = `Speed (${this.keys.shown('slower') || 'click'} and ${this.keys.shown('faster') || 'click'})`;
    for (const side of this.blind ? ['clean'] : ['clean', 'perturbed']) {
      const text = this.pair ? p.trouble(side) : '';
      const trouble = this.el.querySelector(`.player.${side} .trouble`);
      trouble.textContent = text;
      trouble.hidden = !text;
    }
    if (this.blind) return;
    this.loopButton.setAttribute('aria-pressed', String(p.loop !== null));
    this.lockButton.querySelector('span').textContent = p.lock === 'time' ? 'Locked by time' : 'Locked by content';
    this.lockButton.dataset.told = p.lock === 'time' ? 'Both sides show the same moment of their own video' : 'Both sides show the same moment of the same clip';
  }

  _empty() {
    this.el.classList.toggle('nopair', !this.pair);
    if (this.pair || !this.data) return;
    const waiting = this.outbox.items.length, { done = 0, total = 0 } = this.data.counts || {}, undo = this.keys.shown('undo') || 'Undo';
    const text = waiting ? [`Waiting for the server; ${waiting} ${waiting === 1 ? 'review is' : 'reviews are'} kept here.`]
      : [h('b', {}, total > done ? 'Nothing free to review right now' : 'All reviewed'), h('p', {}, total > done
        ? 'Other reviewers hold the pairs that are left. They come back in a few minutes if nobody decides.'
        : this.data.campaign ? `Nothing is left for you in this campaign: ${done} of ${total} are judged. ${undo} brings your last one back.`
        : `${done} of ${total} pairs here have a decision. ${undo} brings the last one back; the Curriculum page comes next.`)];
    this.empty.replaceChildren(...text);
  }

  _say(text, quiet = false) {
    const reasons = this.data.reasons || [];
    if (quiet) { this.said.replaceChildren(); return; }
    if (text !== null) { this.said.replaceChildren(h('span', { class: 'toast' }, text)); return; }
    this.said.replaceChildren(h('span', { class: 'why' }, `Rejected pair ${this.asking.pair}. `, h('br'), 'Why?'), h('div', { class: 'reasons' },
      ...reasons.map((reason, i) => h('button', { type: 'button', dataset: { reason: i + 1 } }, h('kbd', {}, String(i + 1)), reason))));
  }

  _tick() {
    if (!this.data) return;
    this.players.tick();
    const now = performance.now();
    if (now - (this.lastSlow || 0) > 1000) { this.lastSlow = now; this._theme(); this._fit(); this._stayUsable(); if (this.header.state(this.outbox.told())) this._empty(); }
    if (!this.pair) return;
    const { players: p } = this, { edit } = this.pair, clean = p.a.currentTime;
    // While it plays nobody reads hundredths, and each would be painted: ten times a second is enough.
    const told = !p.playing || now - (this.lastTold || 0) > 100;
    if (told) this.lastTold = now;
    if (this.blind) { if (told) tell(this.time, `${clock(clean)} / ${clock(edit.fileLength)}`); return; }
    const shown = p.shownTime(), drawn = `${clean.toFixed(2)}|${shown.toFixed(2)}|${p.ended()}|${p.loop}|${p.playing}`;
    if (drawn === this.lastDrawn) return;
    this.lastDrawn = drawn;
    const clip = edit.clipAt(clean), here = edit.segments[p.segment];
    this.map.at(clean, shown, clip, here.shown);
    tell(this.el.querySelector('.player.clean .now'), clip < 0 ? 'between clips' : `clip ${clip + 1}`);
    tell(this.el.querySelector('.player.perturbed .now'), `clip ${here.clip + 1}${this.pair.kind === 'imported' ? '' : `, shown ${ordinal(here.shown + 1)}`}`);
    if (told) tell(this.time, p.lock === 'content' ? `${clock(shown)} / ${clock(edit.shownLength)}` : `${clock(clean)} / ${clock(edit.fileLength)}`);
    const gone = p.loop !== null && !edit.order.includes(p.loop);
    for (const side of ['clean', 'perturbed']) {
      const tag = this.el.querySelector(`.player.${side} .ended`);
      tell(tag, gone && side === 'perturbed' ? 'this clip was dropped' : 'ended');
      tag.hidden = !(p.ended() === side || (gone && side === 'perturbed'));
    }
  }
}

// ---- pieces ---------------------------------------------------------------------------------------------------------
function player(side) {
  const video = () => { const made = h('video', { playsinline: true, preload: 'auto', tabindex: '-1' }); made.muted = true; return made; };
  return h('div', { class: `player ${side}` }, h('span', { class: 'tag name' }), h('span', { class: 'tag now' }),
    h('div', { class: 'stage' }, video(), video()), h('span', { class: 'tag ended', hidden: true }, 'ended'), h('div', { class: 'trouble', hidden: true }));
}

/** On a narrow screen the sidebar gives its room to the desk; a click brings it back. */
function collapseSidebar() {
  if (window.innerWidth < 1000) document.querySelector('[data-testid="stSidebarCollapseButton"] button[aria-expanded="true"]')?.click();
}
