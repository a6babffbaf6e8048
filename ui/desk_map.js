// The clip map: the clean video above, the perturbed one below, on one time scale, with a curve from each clip to where
// it went. Blocks and curves are SVG, which may stretch; thumbnails and numbers are HTML above it, which must not.

const ROW = 50, GAP = 24, THUMB_W = 82, THUMB_H = 46;

class ClipMap {
  constructor({ onSeek }) {
    this.onSeek = onSeek;
    this.svg = s('svg', { viewBox: `0 0 1000 ${2 * ROW + GAP}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    this.cells = h('div', { class: 'cells' });
    this.heads = { clean: h('i', { class: 'head clean' }), perturbed: h('i', { class: 'head perturbed' }) };
    this.field = h('div', { class: 'field' }, this.svg, this.heads.clean, this.heads.perturbed, this.cells);
    this.element = h('div', { class: 'map', role: 'group', 'aria-label': 'Which clip went where' }, this.field);
    this.width = 0;
    new ResizeObserver(([{ contentRect }]) => { this.width = contentRect.width; }).observe(this.field);
    this._drags();
    this.cells.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && event.target.dataset.at) this.onSeek(event.target.dataset.row, Number(event.target.dataset.at));
    });
  }

  show(pair) {
    // Without a plan nobody knows which order the rejected response saw: a map would claim that it was the true one.
    this.element.hidden = pair.kind === 'imported';
    if (this.element.hidden) return this.clear();
    const { edit } = pair, focused = this.cells.getRootNode().activeElement, held = focused && this.cells.contains(focused) && focused.dataset.row;
    this.edit = edit;
    this.span = Math.max(edit.fileLength, edit.shownLength);
    this.key = '';
    const kept = new Set(edit.order), n = edit.ranges.length;
    const x = (seconds) => (1000 * seconds) / this.span;
    const curves = s('g', {}), blocks = s('g', {}), cells = [];
    edit.ranges.forEach((ranges, i) => {
      ranges.forEach(([a, b]) => blocks.append(this._block(i, n, x(edit.at(a)), x(edit.at(b)), 0, !kept.has(i))));
      const where = kept.has(i) ? `shown ${ordinal(edit.order.indexOf(i) + 1)}` : 'dropped';
      cells.push(this._cell(pair, i, n, 'clean', edit.clipStart(i), edit.clipEnd(i) - edit.clipStart(i), !kept.has(i),
        `clip ${i + 1} of ${n}, ${where}`));
    });
    edit.order.forEach((i, j) => {
      const start = edit.segments[edit.segmentOfShown(j)].start, length = edit.clipLength(i);
      blocks.append(this._block(i, n, x(start), x(start + length), ROW + GAP, false));
      cells.push(this._cell(pair, i, n, 'perturbed', start, length, false, `clip ${i + 1} of ${n}, shown ${ordinal(j + 1)}`));
      const from = x((edit.clipStart(i) + edit.clipEnd(i)) / 2), to = x(start + length / 2), bend = GAP * 0.65;
      curves.append(s('path', { d: `M${from} ${ROW} C${from} ${ROW + bend} ${to} ${ROW + GAP - bend} ${to} ${ROW + GAP}`,
        fill: 'none', stroke: css(clipColour(i, n)), 'vector-effect': 'non-scaling-stroke', 'data-shown': j }));
    });
    this.svg.replaceChildren(curves, blocks);
    this.cells.replaceChildren(...cells);
    // Who walks the map with the keyboard stays in it.
    if (held) this.cells.querySelector(`.cell.${held}`).focus({ preventScroll: true });
  }

  clear() {
    this.edit = null;
    this.svg.replaceChildren();
    this.cells.replaceChildren();
  }

  /** Move the playheads. `clip`: clean index under the left one; `shown`: place of the clip under the right one. */
  at(cleanSeconds, shownSeconds, clip, shown) {
    if (!this.edit) return;
    // Moved, not placed: a playhead of its own layer lets nothing be laid out or painted anew while both sides play.
    this.heads.clean.style.transform = `translateX(${(this.width * cleanSeconds) / this.span}px)`;
    this.heads.perturbed.style.transform = `translateX(${(this.width * shownSeconds) / this.span}px)`;
    const key = `${clip}|${shown}`;
    if (key === this.key) return;
    this.key = key;
    this.svg.querySelectorAll('path').forEach((path) => path.classList.toggle('now', Number(path.dataset.shown) === shown));
    this.cells.querySelectorAll('.cell').forEach((cell) => {
      const now = Number(cell.dataset.n) === (cell.dataset.row === 'clean' ? clip : this.edit.order[shown]);
      cell.classList.toggle('now', now);
      cell.tabIndex = now ? 0 : -1; // one stop in each row; the arrows walk on
    });
  }

  _block(i, n, from, to, y, dropped) {
    const colour = css(clipColour(i, n));
    return s('rect', { x: from + 1, y, width: Math.max(1, to - from - 2), height: ROW, rx: 3, stroke: colour,
      fill: dropped ? 'transparent' : colour, 'vector-effect': 'non-scaling-stroke', ...(dropped ? { 'stroke-dasharray': '4 3' } : {}) });
  }

  _cell(pair, i, n, row, start, length, dropped, label) {
    const colour = clipColour(i, n);
    const thumb = h('i', { class: 'thumb', style: { 'background-position': `${-THUMB_W * i}px 0`,
      'background-size': `${THUMB_W * n}px ${THUMB_H}px` } });
    if (pair.sprite_url) thumb.style.backgroundImage = `url("${pair.sprite_url}")`;
    const number = h('b', { style: { background: css(colour), color: luminance(colour) > 0.45 ? '#111' : '#fff' } }, String(i + 1));
    return h('button', { type: 'button', class: `cell ${row} ${dropped ? 'dropped' : ''}`, tabindex: '-1', title: label,
      'aria-label': label, dataset: { row, n: i, at: start + 1e-3 },
      style: { left: `${(100 * start) / this.span}%`, width: `${(100 * length) / this.span}%` } }, thumb, number);
  }

  _drags() {
    let row = null;
    const seek = (event) => {
      const box = this.field.getBoundingClientRect();
      this.onSeek(row, clamp((event.clientX - box.left) / box.width, 0, 1) * this.span);
    };
    this.field.addEventListener('pointerdown', (event) => {
      if (!this.edit) return;
      event.preventDefault(); // the focus stays where it was, so that the arrows go on stepping frames
      const box = this.field.getBoundingClientRect();
      row = event.clientY - box.top > box.height / 2 ? 'perturbed' : 'clean';
      this.field.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.field.addEventListener('pointermove', (event) => { if (row && this.edit) seek(event); });
    this.field.addEventListener('mousedown', (event) => event.preventDefault());
    for (const end of ['pointerup', 'pointercancel']) this.field.addEventListener(end, () => { row = null; });
  }
}
