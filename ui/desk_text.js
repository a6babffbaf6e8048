// The two responses with what differs: first whole sentences (moved, only here), then words inside matched sentences.
// Responses are text that a model wrote: they reach the page as text nodes only.

const DIFFS = ['order', 'words', 'off'];
const SEEN = { drop: 'with clips dropped', shuffle: 'shuffled', reverse: 'in reverse' };

class Responses {
  constructor() {
    this.mode = 'order';
    this.sides = {};
    for (const [side, name] of [['chosen', 'Chosen'], ['rejected', 'Rejected']]) {
      const head = h('div', { class: 'cardhead' }), text = scrolling(h('div', { class: 'text', tabindex: '0', role: 'region', 'aria-label': `${name} response` }));
      this.sides[side] = { name, head, text, card: h('section', { class: `card ${side}` }, head, text) };
    }
    this.element = h('div', { class: 'responses' }, this.sides.chosen.card, this.sides.rejected.card);
    for (const [on, off] of [['mouseover', 'mouseout'], ['focusin', 'focusout']]) {
      this.element.addEventListener(on, (event) => this._light(event.target.closest('.sentence')));
      this.element.addEventListener(off, () => this._light(null));
    }
  }

  show(pair) {
    this.pair = pair;
    this.editing = null;
    const clean = 'response to the clean video';
    const other = pair.kind in SEEN ? `response to the video ${SEEN[pair.kind]}` : `response to the perturbed video (${pair.kind})`;
    this._head('chosen', pair.kind === 'imported' ? 'imported' : clean, 'missing');
    this._head('rejected', pair.kind === 'imported' ? 'imported' : other, 'added');
    for (const side of ['chosen', 'rejected']) {
      this.sides[side].text.replaceChildren(...this._sentences(side));
      toTop(this.sides[side].text);
    }
  }

  clear() {
    this.pair = null;
    for (const side of Object.values(this.sides)) { side.head.replaceChildren(); side.text.replaceChildren(); }
  }

  nextMode() {
    this.mode = DIFFS[(DIFFS.indexOf(this.mode) + 1) % DIFFS.length];
    if (this.pair && !this.editing) this.show(this.pair);
    return this.mode;
  }

  /** Put one response into a text field. */
  edit(side) {
    this.editing = side;
    const field = h('textarea', { 'aria-label': `${this.sides[side].name} response`, spellcheck: 'true' });
    field.value = this.pair[side];
    this.sides[side].text.replaceChildren(field, h('div', { class: 'row' },
      button('save', 'Save and accept', { fixed: 'Ctrl+Enter', kind: 'primary' }), button('cancel', 'Cancel', { fixed: 'Esc' })));
    field.focus({ preventScroll: true });
    this.sides[side].text.lastChild.scrollIntoView({ block: 'nearest' });
    field.setSelectionRange(field.value.length, field.value.length);
  }

  /** What the text field holds now. */
  edited() {
    return this.sides[this.editing].text.querySelector('textarea').value;
  }

  _head(side, from, only) {
    const { name, head } = this.sides[side], list = this.pair.diff[side];
    const count = (state) => list.filter((x) => x.state === state).length;
    const legend = this.mode === 'off' ? [] : [[count('moved'), 'moved', 'moved'], [count(only), 'only here', only]];
    head.replaceChildren(h('i', { class: 'dot' }), h('b', {}, name), h('span', { class: 'from' }, `${from} · ${words(this.pair[side])} words`),
      h('span', { class: 'legend' }, ...legend.filter(([n]) => n).map(([n, told, kind]) => h('span', {}, h('i', { class: kind }), `${n} ${told}`))));
  }

  _sentences(side) {
    if (this.mode === 'off') return [this.pair[side]];
    return this.pair.diff[side].flatMap((sentence) => {
      // Both sides carry the chosen side's numbers, so that the order can be read on the right.
      const number = side === 'chosen' ? sentence.n : sentence.to;
      const match = sentence.to === null || sentence.to === undefined ? '' : String(number);
      const state = this.mode === 'order' && sentence.state !== 'same' ? sentence.state : '';
      const pieces = sentence.words.map(([changed, text]) => (changed && text.trim() ? h('span', { class: 'word' }, text) : text));
      return [h('span', { class: `sentence ${state}`, dataset: { match }, tabindex: match ? '-1' : null },
        h('sup', {}, match || side === 'chosen' ? String(number) : 'new'), ...pieces), ' '];
    });
  }

  _light(sentence) {
    this.element.querySelectorAll('.lit').forEach((lit) => lit.classList.remove('lit'));
    if (!sentence || !sentence.dataset.match) return;
    this.element.querySelectorAll('.sentence').forEach((other) => other.classList.toggle('lit', other.dataset.match === sentence.dataset.match));
  }
}
