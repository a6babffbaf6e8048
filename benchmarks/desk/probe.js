// Measures inside the page, whatever page it is: when the next pair is visible, where both players are, what they present.
// Nothing here knows the desk but two test ids (pair, save); players are found by looking: the videos that can be seen.

(() => {
  const presented = new WeakMap(); // video -> {path, mediaTime, n} of the last frame that went to the screen
  const probe = (window.probe = { keys: [], armed: false, first: null, frames: null });
  let root = null;

  /** Where the videos are: the document, or the shadow root of a component. */
  function stage() {
    if (root && (root === document ? true : root.host.isConnected) && root.querySelector('video')) return root;
    root = document.querySelector('video') ? document
      : [...document.querySelectorAll('*')].map((e) => e.shadowRoot).find((shadow) => shadow && shadow.querySelector('video')) || null;
    return root;
  }

  const pathOf = (video) => video.currentSrc.split('?')[0];

  /** The two players that can be seen, left one first. */
  probe.players = () => {
    const all = stage() ? [...stage().querySelectorAll('video')] : [];
    all.forEach(watch);
    return all.filter((video) => getComputedStyle(video).opacity === '1' && video.getBoundingClientRect().width > 0)
      .sort((one, other) => one.getBoundingClientRect().x - other.getBoundingClientRect().x);
  };

  function watch(video) {
    if (presented.has(video)) return;
    presented.set(video, { path: '', mediaTime: -1, n: 0, at: -1 });
    const seen = (now, frame) => {
      const { n } = presented.get(video);
      presented.set(video, { path: pathOf(video), mediaTime: frame.mediaTime, n: n + 1, at: now });
      if (probe.frames) probe.frames.push([probe.players().indexOf(video), now, frame.mediaTime]);
      video.requestVideoFrameCallback(seen);
    };
    video.requestVideoFrameCallback(seen);
  }

  const title = () => (stage()?.querySelector('[data-testid=pair], h3')?.textContent || '').trim();
  probe.pair = () => Number(title().replace(/\D+/g, ''));
  const saved = () => (stage()?.querySelector('[data-testid=save]')?.textContent || 'saved').trim() === 'saved';

  /** What can be seen of a pair: its name and files, and whether each player shows a decoded frame of its file. */
  function look() {
    const players = probe.players();
    const shows = (video) => {
      const last = presented.get(video);
      return video.readyState >= 2 && !video.seeking && last.path === pathOf(video) && Math.abs(last.mediaTime - video.currentTime) < 0.25;
    };
    return { title: title(), files: players.map(pathOf), whole: players.length === 2 && players.every(shows) };
  }

  const since = (video, moment) => presented.get(video).at > moment;

  function onFrame() {
    const now = performance.now();
    if (probe.first === null) {
      const { title: name, whole } = look();
      if (name && whole) probe.first = -1; // what holds now is on the screen with the next picture
    } else if (probe.first === -1) probe.first = now;
    for (const key of probe.keys) {
      if (key.visible === null) {
        if (key.whole) key.visible = now;
        else {
          const seen = look();
          key.whole = seen.title !== key.title && seen.whole && (key.same || seen.files.every((file, side) => file !== key.files[side]));
        }
      }
      if (key.moving === null && key.visible !== null && probe.players().every((video) => since(video, key.at))) key.moving = now;
      if (key.saved === null && key.asked && saved()) key.saved = now;
      key.asked = true; // the key has been handled by now, so the desk says "saving"
    }
    requestAnimationFrame(onFrame);
  }
  requestAnimationFrame(onFrame);

  window.addEventListener('keydown', (event) => {
    if (!probe.armed || event.repeat) return;
    const { title: name, files } = look();
    probe.keys.push({ at: event.timeStamp, title: name, files, same: probe.armed === 'same file', whole: false, asked: false, visible: null, moving: null, saved: null });
  }, true);

  /** Where both players are, once a picture, for so many milliseconds; and every frame they present. */
  probe.follow = (ms) => new Promise((done) => {
    const rows = [], start = performance.now();
    probe.frames = [];
    const one = (now) => {
      const [a, b] = probe.players();
      if (a && b) rows.push([now, a.currentTime, b.currentTime, a.seeking, b.seeking, a.paused, b.paused]);
      if (now - start < ms) requestAnimationFrame(one);
      else { done({ rows, frames: probe.frames }); probe.frames = null; }
    };
    requestAnimationFrame(one);
  });

  probe.counts = () => probe.players().map((video) => presented.get(video).n);

  /** Once both players presented something since `counts` and none seeks: the media times on the screen. */
  probe.settled = (counts) => new Promise((done) => {
    const start = performance.now();
    let calm = 0;
    const one = (now) => {
      const players = probe.players(), late = now - start > 2000;
      calm = players.every((video, k) => !video.seeking && presented.get(video).n > counts[k]) ? calm + 1 : 0;
      if (calm >= 2 || late) done(players.map((video) => presented.get(video).mediaTime));
      else requestAnimationFrame(one);
    };
    requestAnimationFrame(one);
  });
})();
