// The strip of frames that the model really saw: the key frames of each clip, in the order of either side. First the
// clip's thumbnail, then the frame itself, drawn by a player of its own that lives only while the strip is open.

class FrameStrip {
  constructor({ onSeek }) {
    this.rows = { clean: h('div', { class: 'seen' }), perturbed: h('div', { class: 'seen' }) };
    this.told = h('p', { class: 'muted' });
    this.element = h('div', { class: 'map strip', role: 'group', 'aria-label': 'Frames that the model saw', hidden: true }, this.told, this.rows.clean, this.rows.perturbed);
    this.element.addEventListener('click', (event) => {
      const cell = event.target.closest('.frame');
      if (cell) onSeek(cell.dataset.row, Number(cell.dataset.at));
    });
  }

  get open() { return !this.element.hidden; }

  show(pair) {
    this.pair = pair;
    this._leave();
    if (!this.open || !pair) return;
    const { edit } = pair, seen = pair.key_frames || [], n = edit.ranges.length;
    const count = edit.order.reduce((sum, clip) => sum + (seen[clip] || []).length, 0);
    const what = pair.given ? 'Key frames of the clips, whose captions came with the data set; no model saw these'
      : pair.input === 'video' || pair.input === 'clips' ? 'Frames that both questions showed' : 'Key frames that the captions were asked about';
    this.told.textContent = seen.length ? `${what}: ${seen.flat().length} clean, ${count} perturbed`
      : 'Which frames the model saw is not known: this pair was not made here.';
    const clips = { clean: edit.ranges.map((_, i) => i), perturbed: edit.order };
    this.cells = [];
    for (const row of ['clean', 'perturbed']) {
      this.rows[row].replaceChildren(...clips[row].flatMap((clip, shown) => (seen[clip] || []).map((frame, k) => this._frame(row, clip, shown, frame, k, n))));
    }
    if (this.cells.length) this._draw(pair, [...new Set(seen.flat())]);
  }

  close() {
    this.element.hidden = true;
    this._leave();
  }

  _frame(row, clip, shown, frame, k, n) {
    const { edit } = this.pair, colour = clipColour(clip, n), seconds = edit.at(frame);
    const segment = edit.segments.findIndex((x) => x.shown === shown && x.a <= frame && frame < x.b);
    const at = row === 'clean' || segment < 0 ? edit.middle(frame) : edit.toShown(segment, edit.middle(frame));
    const label = `clip ${clip + 1}, ${row === 'clean' ? '' : `shown ${ordinal(shown + 1)}, `}frame at ${clock(seconds)}`;
    const picture = h('i', { class: 'picture', style: { 'background-position': `${n > 1 ? (100 * clip) / (n - 1) : 0}% 0`, 'background-size': `${100 * n}% 100%`, 'border-color': css(colour) } });
    if (this.pair.sprite_url) picture.style.backgroundImage = `url("${this.pair.sprite_url}")`;
    const made = h('button', { type: 'button', class: 'cell frame', title: label, 'aria-label': label, tabindex: this.cells.some((cell) => cell.dataset.row === row) ? '-1' : '0',
      dataset: { row, n: `${clip}.${k}`, at, frame } }, picture, h('b', { style: { background: css(colour), color: luminance(colour) > 0.45 ? '#111' : '#fff' } }, String(clip + 1)), h('small', {}, clock(seconds)));
    this.cells.push(made);
    return made;
  }

  // Each frame once, in the order of the file; the thumbnail stays where a frame can not be had.
  async _draw(pair, frames) {
    const video = this.video = h('video', { playsinline: true, preload: 'auto' });
    video.muted = true;
    video.src = pair.url;
    // The players' videos go first; a seek before the first picture is there would run out of its time.
    await shownIn(video, 20000);
    for (const frame of frames.sort((one, other) => one - other)) {
      await reached(video, pair.edit.middle(frame), pair.edit.frameLength);
      if (this.video === video) await shownIn(video, 3000);
      if (this.video !== video) return;
      if (video.readyState < 2) continue;
      for (const cell of this.cells.filter((x) => Number(x.dataset.frame) === frame)) cell.firstChild.replaceWith(this._picture(video, cell.firstChild));
    }
    if (this.video === video) this._leave();
  }

  _picture(video, before) {
    const canvas = h('canvas', { class: 'picture', width: 128, height: 72, style: { 'border-color': before.style.borderColor } });
    const scale = Math.min(128 / video.videoWidth, 72 / video.videoHeight), [w, t] = [video.videoWidth * scale, video.videoHeight * scale];
    canvas.getContext('2d').drawImage(video, (128 - w) / 2, (72 - t) / 2, w, t);
    return canvas;
  }

  _leave() {
    if (!this.video) return;
    this.video.removeAttribute('src');
    this.video.load();
    this.video = null;
  }
}

/** Resolve when a picture is there, or after so many milliseconds. */
function shownIn(video, most) {
  if (video.readyState >= 2) return Promise.resolve();
  return new Promise((resolve) => {
    const late = setTimeout(resolve, most);
    video.addEventListener('canplay', () => { clearTimeout(late); resolve(); }, { once: true });
  });
}

/** Seek, and resolve when the picture of that moment is there; "seeked" alone may still come with the one before. */
function reached(video, seconds, frameLength) {
  return new Promise((resolve) => {
    const late = setTimeout(resolve, 1500);
    const look = (_now, { mediaTime }) => {
      if (Math.abs(mediaTime - seconds) <= frameLength) { clearTimeout(late); resolve(); } else video.requestVideoFrameCallback(look);
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(look); else video.addEventListener('seeked', resolve, { once: true });
    video.currentTime = seconds;
  });
}
