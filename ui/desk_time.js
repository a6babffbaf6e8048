// Time of one pair, in decoded frames. Both players play the same file: the clean side as it is, the perturbed side
// through an edit list, the clips' frame ranges in the plan's order. Seconds are derived from frames, never the reverse.

class EditList {
  /** `ranges`: per clip its [start, end) frame ranges; `order`: indices of clips; `frame_s`: times when not constant. */
  constructor({ ranges, order, fps, n_frames, frame_s }) {
    this.ranges = ranges;
    this.order = order;
    this.nFrames = n_frames;
    this.frameLength = fps[1] / fps[0];
    this.times = frame_s || null;
    this.fileLength = this.at(n_frames);
    this.segments = [];
    let start = 0, first = 0;
    order.forEach((clip, shown) => ranges[clip].forEach(([a, b]) => {
      const from = this.at(a), to = this.at(b);
      this.segments.push({ shown, clip, a, b, from, to, start, first });
      start += to - from;
      first += b - a;
    }));
    this.shownLength = start;
    this.shownFrames = first;
  }

  /** When frame k begins, in seconds of the file. */
  at(k) {
    if (!this.times) return k * this.frameLength;
    return k < this.nFrames ? this.times[k] : this.times[this.nFrames - 1] + this.frameLength;
  }

  /** Where to seek so that frame k is shown: its middle, so rounding can not show a neighbour. */
  middle(k) {
    return (this.at(k) + this.at(k + 1)) / 2;
  }

  frameAt(seconds) {
    if (!this.times) return clamp(Math.floor(seconds / this.frameLength + 1e-3), 0, this.nFrames - 1);
    let low = 0, high = this.nFrames - 1;
    while (low < high) {
      const mid = (low + high + 1) >> 1;
      if (this.times[mid] <= seconds + 1e-6) low = mid; else high = mid - 1;
    }
    return low;
  }

  /** The clip that holds a moment of the file, or -1 in a dropped shot. */
  clipAt(seconds) {
    const k = this.frameAt(seconds);
    return this.ranges.findIndex((ranges) => ranges.some(([a, b]) => a <= k && k < b));
  }

  clipStart(clip) {
    return this.at(this.ranges[clip][0][0]);
  }

  clipEnd(clip) {
    const ranges = this.ranges[clip];
    return this.at(ranges[ranges.length - 1][1]);
  }

  clipLength(clip) {
    return this.ranges[clip].reduce((sum, [a, b]) => sum + this.at(b) - this.at(a), 0);
  }

  /** Index of the first segment of the clip shown j-th. */
  segmentOfShown(j) {
    return this.segments.findIndex((segment) => segment.shown === j);
  }

  /** The segment that a moment of the perturbed video lies in. */
  segmentAt(shownSeconds) {
    const found = this.segments.findIndex((x) => shownSeconds < x.start + x.to - x.from);
    return found < 0 ? this.segments.length - 1 : found;
  }

  /** From a moment of the perturbed video to a moment of the file, inside segment `index`. */
  toFile(index, shownSeconds) {
    const x = this.segments[index];
    return clamp(x.from + shownSeconds - x.start, this.middle(x.a), this.middle(x.b - 1));
  }

  /** And back: where in the perturbed video is this moment of the file, inside segment `index`. */
  toShown(index, fileSeconds) {
    const x = this.segments[index];
    return x.start + clamp(fileSeconds - x.from, 0, x.to - x.from);
  }

  /** The segment of the perturbed video that shows a moment of the file, or -1 when it was dropped. */
  segmentShowing(fileSeconds) {
    const k = this.frameAt(fileSeconds);
    return this.segments.findIndex((x) => x.a <= k && k < x.b);
  }

  /** n frames further in the perturbed video: [segment, moment of the file]. */
  stepShown(index, fileSeconds, n) {
    const here = this.segments[index];
    const frame = here.first + clamp(this.frameAt(fileSeconds), here.a, here.b - 1) - here.a;
    const to = clamp(frame + n, 0, this.shownFrames - 1);
    const next = this.segments.findIndex((x) => to < x.first + x.b - x.a);
    const x = this.segments[next];
    return [next, this.middle(x.a + to - x.first)];
  }
}
