// Two players on one transport. Time lock: the same moment of both videos. Content lock: the same moment of the same
// clip. Each side has two <video> elements, one shown and one that loads the next pair.

const SPEEDS = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3];
const SEEK_BEYOND = 0.25; // s of drift beyond which the follower seeks instead of changing its rate
const SETTLES_MS = 600; // the longest that one side waits for the other after a jump
const RETRIES = 3;

class Players {
  /** `clean` and `perturbed`: two <video> elements each. `onLost` is asked for fresh addresses when a file fails. */
  constructor(clean, perturbed, { onChange, onLost }) {
    this.elements = { clean, perturbed };
    this.onChange = onChange;
    this.onLost = onLost;
    this.front = 0;
    this.speed = 1;
    this.lock = 'time';
    this.loop = null; // the clip (clean index) that is looped
    this.playing = false;
    this.segment = 0; // where the perturbed side is in the edit list
    this.attempt = 0; // counts play() calls, so that a late one is dropped
    this.leaving = 0;
    this.settling = 0; // when the last jump was, while one side may still wait for the other
    this.drift = [];
    this.all = [...new Set([...clean, ...perturbed])]; // a blind desk has one side only
    for (const video of this.all) {
      video.addEventListener('error', () => this._failed(video));
      video.addEventListener('loadeddata', () => this._came(video));
    }
    perturbed.forEach((video) => this._watchFrames(video));
  }

  get a() { return this.elements.clean[this.front]; }
  get b() { return this.elements.perturbed[this.front]; }

  // ---- which pair ---------------------------------------------------------------------------------------------------
  show(pair) {
    this._stopLeaving();
    this.pair = pair;
    this.edit = pair.edit;
    const back = 1 - this.front;
    if (this._holds(back, pair) && !this._holds(this.front, pair)) this.front = back;
    this.loop = null;
    this.segment = 0;
    this._load(this.a, pair.url, 0);
    this._load(this.b, pair.url, this.edit.middle(this.edit.segments[0].a));
    for (const side of ['clean', 'perturbed']) {
      this.elements[side].forEach((video, k) => video.classList.toggle('front', k === this.front));
      this.elements[side][1 - this.front].pause();
    }
    this._rates();
    if (window.matchMedia('(prefers-reduced-motion: reduce)').matches) this.pause(); else this.play();
  }

  /** Load the next pair behind the one that is shown. */
  preload(pair) {
    if (!pair) return;
    const back = 1 - this.front;
    this._load(this.elements.clean[back], pair.url, 0);
    this._load(this.elements.perturbed[back], pair.url, pair.edit.middle(pair.edit.segments[0].a));
  }

  clear() {
    this.pair = null;
    this.playing = false;
    this._stopLeaving();
    for (const video of this.all) video.pause();
  }

  release() {
    this.clear();
    for (const video of this.all) {
      video.removeAttribute('src');
      video.load();
    }
  }

  // The signature in an address changes every few minutes; the file is the same, so only the path counts.
  _holds(buffer, pair) {
    return this.elements.perturbed[buffer].dataset.file === pair.url.split('?')[0];
  }

  _load(video, url, at) {
    const file = url.split('?')[0];
    if (video.dataset.file !== file || video.error) {
      video.dataset.file = file;
      video.dataset.fails = '0';
      this._forgive(video);
      video.src = url;
    }
    if (Math.abs(video.currentTime - at) > 1e-3 || video.readyState === 0) video.currentTime = at;
  }

  // ---- when a file fails: wait for the server, then go on at the same moment -----------------------------------------
  _failed(video) {
    const file = video.dataset.file;
    if (!file || !video.getAttribute('src')) return;
    if (video.dataset.lost === undefined) video.dataset.lost = String(video.currentTime);
    this.onChange();
    setTimeout(() => this._retry(video, file), 250);
  }

  async _retry(video, file) {
    if (video.dataset.file !== file || !video.error || video.asking) return;
    video.asking = true;
    const found = await asked(this._address(video));
    video.asking = false;
    if (video.dataset.file !== file || !video.error) return;
    if (found === 'there') {
      const fails = Number(video.dataset.fails || 0) + 1;
      video.dataset.fails = String(fails);
      if (fails <= RETRIES) this._again(video); else this._giveUp(video, 'This browser can not play the file. The responses below can still be judged.');
    } else if (found === 'gone') this._giveUp(video, 'The file of this video is not there any more. The responses below can still be judged.');
    else {
      this.onLost(); // the server is away, or the address is too old: ask for fresh ones until they come
      setTimeout(() => this._retry(video, file), 1500);
    }
  }

  /** Fresh addresses came: load what failed at once. */
  refresh() {
    for (const video of this.all) if (video.error && !video.dataset.trouble && video.dataset.lost !== undefined) this._retry(video, video.dataset.file);
  }

  _again(video) {
    const at = Number(video.dataset.lost || 0);
    video.src = this._address(video);
    video.currentTime = at;
  }

  _address(video) {
    return this.pair && video.dataset.file === this.pair.url.split('?')[0] ? this.pair.url : video.src;
  }

  _came(video) {
    const was = video.dataset.lost;
    this._forgive(video);
    this.onChange();
    if (was !== undefined && this.playing && (video === this.a || video === this.b)) video.play().catch(() => {});
  }

  _forgive(video) {
    delete video.dataset.lost;
    delete video.dataset.trouble;
    clearTimeout(video.calm);
    // What plays for a while is no broken file.
    video.calm = setTimeout(() => { video.dataset.fails = '0'; }, 5000);
  }

  _giveUp(video, told) {
    video.dataset.trouble = told;
    this.onChange();
  }

  /** What to say over a player that shows nothing, or ''. */
  trouble(side) {
    const video = this.elements[side][this.front];
    return video.error ? video.dataset.trouble || 'Reconnecting …' : '';
  }

  // ---- transport ----------------------------------------------------------------------------------------------------
  async play() {
    if (!this.pair) return;
    const attempt = ++this.attempt;
    if (this._atEnd()) this._place(0, 0, this.edit.middle(this.edit.segments[0].a));
    this.playing = true;
    this.onChange();
    await Promise.all([ready(this.a), ready(this.b)]);
    if (attempt !== this.attempt || !this.playing) return;
    const starts = [];
    if (!this._cleanEnded()) starts.push(this.a.play());
    if (!this._perturbedEnded() && !this._alone()) starts.push(this.b.play());
    await Promise.allSettled(starts);
  }

  pause() {
    this.attempt++;
    this.playing = false;
    this._stopLeaving();
    this._settled();
    this.a.pause();
    this.b.pause();
    this.onChange();
  }

  toggle() {
    if (this.playing) this.pause(); else this.play();
  }

  /** One frame on or back, on both sides. */
  step(n) {
    if (!this.pair) return;
    this.pause();
    const [segment, at] = this.edit.stepShown(this.segment, this.b.currentTime, n);
    const k = clamp(this.edit.frameAt(this.a.currentTime) + n, 0, this.edit.nFrames - 1);
    this._place(this.lock === 'content' ? at : this.edit.middle(k), segment, at);
  }

  /** To the border of the clip before or after, on the side that leads. */
  clip(n) {
    if (!this.pair) return;
    const { edit } = this, content = this.lock === 'content';
    const starts = content ? edit.order.map((_, j) => edit.segments[edit.segmentOfShown(j)].start)
      : edit.ranges.map((_, i) => edit.clipStart(i));
    const now = content ? this.shownTime() : this.a.currentTime;
    const here = starts.reduce((last, start, k) => (start <= now + 0.02 ? k : last), 0);
    // Back means the start of this clip first, unless we just came from there.
    const to = n < 0 && now - starts[here] > 0.4 ? here : clamp(here + n, 0, starts.length - 1);
    this.loop = null;
    this.seek(content ? 'perturbed' : 'clean', starts[to] + 1e-3);
  }

  /** To a moment on one side's own time scale; the lock says where the other side goes. */
  seek(side, seconds) {
    if (!this.pair) return;
    const { edit } = this;
    if (this.lock === 'time') {
      const shown = clamp(seconds, 0, edit.shownLength - 1e-3), segment = edit.segmentAt(shown);
      this._place(clamp(seconds, 0, edit.middle(edit.nFrames - 1)), segment, edit.toFile(segment, shown));
    } else if (side === 'perturbed') {
      const segment = edit.segmentAt(clamp(seconds, 0, edit.shownLength - 1e-3)), at = edit.toFile(segment, seconds);
      this._place(at, segment, at);
    } else {
      const at = clamp(seconds, 0, edit.middle(edit.nFrames - 1)), segment = edit.segmentShowing(at);
      if (segment >= 0) this._place(at, segment, at);
      else { this.pause(); this.a.currentTime = at; } // dropped: the other side has no such moment
    }
    if (this.playing) this.play();
  }

  setSpeed(speed) {
    this.speed = speed;
    this._rates();
    this.onChange();
  }

  faster(n) {
    this.setSpeed(SPEEDS[clamp(SPEEDS.indexOf(this.speed) + n, 0, SPEEDS.length - 1)]);
  }

  toggleLock() {
    this.lock = this.lock === 'time' ? 'content' : 'time';
    this.loop = null;
    if (this.pair) this.seek('perturbed', this.shownTime());
    this.onChange();
  }

  /** Loop the clip under the leading playhead: the same clip on both sides, in either lock. */
  toggleLoop() {
    if (!this.pair) return;
    const clip = this.lock === 'content' ? this.edit.segments[this.segment].clip : this.edit.clipAt(this.a.currentTime);
    this.loop = this.loop === null && clip >= 0 ? clip : null;
    if (this.loop !== null) this._startLoop();
    if (this.loop !== null && !this.playing) this.play();
    this._rates();
    this.onChange();
  }

  shownTime() {
    return this.edit.toShown(this.segment, this.b.currentTime);
  }

  // ---- keeping both sides together ----------------------------------------------------------------------------------
  /** Once per picture of the screen. */
  tick() {
    if (!this.pair || !this.playing || (this.settling && this._settle()) || this.a.seeking) return;
    const here = this.edit.segments[this.segment];
    if (!this.b.seeking && !this._alone() && this.b.currentTime >= here.to - 1e-3) this._leave();
    if (this._alone()) this._loopAlone();
    else if (this.lock === 'content' || this.loop !== null) this._followContent();
    else this._followTime();
    if (this._atEnd() && !this.b.seeking) this.pause();
  }

  /** After a jump: who is ahead waits, and who can not show its frame yet is waited for. True until both are level. */
  _settle() {
    const { a, b } = this, content = this.lock === 'content' || this.loop !== null;
    const late = performance.now() - this.settling > SETTLES_MS;
    if (late || this._alone() || this._cleanEnded() || this._perturbedEnded()) return this._settled();
    const ahead = content ? b.currentTime - a.currentTime : this.shownTime() - a.currentTime;
    if (Math.abs(ahead) < 0.012 * Math.max(1, this.speed)) return coming(a) || coming(b) ? this._hold(0, 0) : this._settled();
    return ahead > 0 ? this._hold(this.speed, 0) : this._hold(0, this.speed);
  }

  _hold(rateOfClean, rateOfPerturbed) {
    this.a.playbackRate = rateOfClean;
    this.b.playbackRate = rateOfPerturbed;
    return true;
  }

  _settled() {
    this.settling = 0;
    this._rates();
    return false;
  }

  _followTime() {
    const { a, b } = this, d = this.shownTime() - a.currentTime;
    if (b.seeking || a.readyState < 3 || b.readyState < 3 || this._cleanEnded() || this._perturbedEnded()) return;
    this.drift.push(d);
    if (this.drift.length > 3000) this.drift.shift();
    if (Math.abs(d) > SEEK_BEYOND) {
      this.segment = this.edit.segmentAt(a.currentTime);
      b.currentTime = this.edit.toFile(this.segment, a.currentTime);
      this.settling = performance.now();
    } else nudge(b, this.speed, d);
  }

  _followContent() {
    const { a, b } = this, d = a.currentTime - b.currentTime;
    if (b.seeking) return;
    if (Math.abs(d) > 0.18) { a.currentTime = b.currentTime; this.settling = performance.now(); } else nudge(a, this.speed, d);
    if (a.paused && !this._perturbedEnded()) a.play().catch(() => {});
  }

  // Only the clean side has the looped clip.
  _loopAlone() {
    const { a } = this;
    if (!this.b.paused) this.b.pause();
    if (a.currentTime >= this.edit.clipEnd(this.loop) - this.edit.frameLength / 2 || a.ended) {
      a.currentTime = this.edit.middle(this.edit.ranges[this.loop][0][0]);
      if (a.paused) a.play().catch(() => {});
    }
  }

  // A clip ends with its last frame: leave when that frame was on the screen for its time, so it is neither cut nor
  // followed by a frame of the clip after it in the file. Seeks take about a picture, hence the 20 ms.
  _watchFrames(video) {
    if (!video.requestVideoFrameCallback) return;
    const seen = (_now, frame) => {
      if (this.pair && video === this.b && this.playing && !this.leaving) {
        const here = this.edit.segments[this.segment];
        const last = frame.mediaTime >= this.edit.at(here.b - 1) - this.edit.frameLength / 2;
        if (last && frame.mediaTime < here.to && !this._continues()) {
          const wait = (1000 * (here.to - this.edit.at(here.b - 1))) / this.speed - 20;
          this.leaving = setTimeout(() => { this.leaving = 0; if (this.playing && video === this.b) this._leave(); }, Math.max(0, wait));
        }
      }
      video.requestVideoFrameCallback(seen);
    };
    video.requestVideoFrameCallback(seen);
  }

  // Does the file simply go on with the next segment?
  _continues() {
    const next = this.edit.segments[this.segment + 1];
    return next && next.a === this.edit.segments[this.segment].b && this.loop === null;
  }

  _leave() {
    this._stopLeaving();
    const goesOn = this._continues(), here = this.edit.segments[this.segment], next = this.edit.segments[this.segment + 1];
    if (this.loop !== null && !(next && next.shown === here.shown)) return this._startLoop();
    if (!next) { this.b.pause(); this.b.currentTime = this.edit.middle(here.b - 1); return this.onChange(); }
    this.segment++;
    if (goesOn) return undefined;
    this.b.currentTime = this.edit.middle(next.a);
    if (this.lock === 'content' || this.loop !== null) this.a.currentTime = this.edit.middle(next.a);
    this.settling = performance.now();
    return undefined;
  }

  _startLoop() {
    const shown = this.edit.order.indexOf(this.loop), at = this.edit.middle(this.edit.ranges[this.loop][0][0]);
    if (shown >= 0) this._place(at, this.edit.segmentOfShown(shown), at);
    else this.a.currentTime = at;
  }

  _place(clean, segment, perturbed) {
    this._stopLeaving();
    this.segment = segment;
    this.a.currentTime = clean;
    this.b.currentTime = perturbed;
    this.settling = performance.now();
  }

  _stopLeaving() {
    clearTimeout(this.leaving);
    this.leaving = 0;
  }

  _rates() {
    for (const video of this.all) video.playbackRate = this.speed;
  }

  _alone() {
    return this.loop !== null && !this.edit.order.includes(this.loop);
  }

  _cleanEnded() {
    return this.a.ended || this.a.currentTime >= this.edit.fileLength - this.edit.frameLength * 0.6;
  }

  _perturbedEnded() {
    return this.segment === this.edit.segments.length - 1
      && (this.b.ended || this.b.currentTime >= this.edit.segments[this.segment].to - this.edit.frameLength * 0.6);
  }

  _atEnd() {
    if (this.loop !== null) return false;
    return this._perturbedEnded() && (this.lock === 'content' || this._cleanEnded());
  }

  /** Which side has come to its end while the other still plays. */
  ended() {
    if (!this.playing || this.loop !== null || !this.pair) return null;
    if (this._cleanEnded() && !this._perturbedEnded()) return 'clean';
    if (this._perturbedEnded() && !this._cleanEnded()) return 'perturbed';
    return null;
  }
}

// The follower is a little faster or slower until it is level; below 12 ms it is left alone.
function nudge(video, speed, ahead) {
  const rate = Math.abs(ahead) < 0.012 ? speed : speed * (1 - clamp(1.2 * ahead, -0.08, 0.08));
  if (Math.abs(video.playbackRate - rate) > 0.004) video.playbackRate = rate;
}

/** Has a video still to show where it was sent? */
function coming(video) {
  return video.seeking || video.readyState < 3;
}

/** Resolves when the video can play, or after 1.5 s: the other side shall not wait for ever. */
function ready(video) {
  if (video.readyState >= 3) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => { video.removeEventListener('canplay', done); clearTimeout(timer); resolve(); };
    const timer = setTimeout(done, 1500);
    video.addEventListener('canplay', done);
  });
}

/** Is a file there: 'there', 'gone', 'refused' (an address that is too old) or 'away' (no server answers)? */
async function asked(url) {
  try {
    const { status } = await fetch(url, { headers: { Range: 'bytes=0-0' }, cache: 'no-store' });
    return status < 300 ? 'there' : status === 404 ? 'gone' : status === 403 ? 'refused' : 'away';
  } catch { return 'away'; }
}
