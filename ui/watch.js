// One video with its shots: a player, every shot as long as it lasts, and the clips. A click on a shot or a clip seeks.
// Text reaches the page by textContent only.
const make = (tag, name, words) => {
  const item = document.createElement(tag);
  item.className = name;
  if (words !== undefined) item.textContent = words;
  return item;
};

export default function ({ data, parentElement }) {
  const mount = parentElement.querySelector(".mount");
  // A page that is drawn again with the same data must not stop what plays.
  const now = JSON.stringify(data);
  if (mount.shown === now) return mount.leave;
  mount.shown = now;
  const player = make("video", "");
  player.controls = true;
  player.muted = true;
  player.playsInline = true;
  player.preload = "metadata";
  player.setAttribute("aria-label", data.label);
  const told = make("p", "told", data.told);
  told.hidden = !data.told;
  if (data.video_url) player.src = data.video_url;
  else player.hidden = true;
  player.onerror = () => {
    told.textContent = "This browser cannot play the file. Kept videos get a copy that it can.";
    told.hidden = false;
    player.hidden = true;
  };
  const seek = (s) => () => {
    if (!player.hidden) player.currentTime = s + 0.001;
  };

  const bar = make("div", "bar");
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "shots in their true order, each as wide as it lasts");
  const whole = data.shots.length ? data.shots[data.shots.length - 1].end_s : 0;
  for (const shot of data.shots) {
    const item = make("button", shot.dropped ? "shot dropped" : "shot", shot.letter);
    item.style.flex = `${shot.end_s - shot.start_s} 1 0`;
    if (!shot.dropped) { item.style.background = shot.colour; item.style.color = shot.ink; }
    item.title = shot.about;
    item.setAttribute("aria-label", shot.about);
    item.onclick = seek(shot.start_s);
    bar.append(item);
  }
  const head = make("span", "head");
  head.hidden = true;
  bar.append(head);
  player.ontimeupdate = () => {
    head.hidden = !whole;
    head.style.left = `${Math.min(100, (100 * player.currentTime) / whole)}%`;
  };

  const clips = make("div", "clips");
  clips.setAttribute("role", "group");
  clips.setAttribute("aria-label", "clips in their true order");
  data.clips.forEach((clip, i) => {
    const item = make("button", "clip");
    item.setAttribute("aria-label", `clip ${i + 1}, group ${clip.letter}, ${clip.about}`);
    const picture = make("span", "picture");
    picture.style.backgroundImage = `url("${data.sprite_url}")`;
    picture.style.backgroundSize = `${data.clips.length * 100}% 100%`;
    picture.style.backgroundPosition = `${data.clips.length > 1 ? (i / (data.clips.length - 1)) * 100 : 0}% 0`;
    picture.style.borderBottomColor = clip.colour;
    const letter = make("span", "letter", clip.letter);
    letter.style.background = clip.colour;
    letter.style.color = clip.ink;
    picture.append(make("span", "number", String(i + 1)), letter);
    item.append(picture, make("span", "about", clip.about));
    item.onclick = seek(clip.start_s);
    clips.append(item);
  });
  mount.replaceChildren(player, told, bar, clips);
  mount.leave = () => {
    player.pause();
    player.onerror = null;
    player.removeAttribute("src");
    player.load();
    mount.shown = "";
  };
  return mount.leave;
}
