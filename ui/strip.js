// Clips or pictures of a video as a row of numbered thumbnails, in any order. Text reaches the page by textContent only.
export default function ({ data, parentElement }) {
  const cell = ({ clip, about, colour, ink }) => {
    const item = document.createElement("div");
    item.className = "cell";
    item.setAttribute("role", "listitem");
    item.setAttribute("aria-label", `${data.what} ${clip + 1}, ${about}`);
    const picture = document.createElement("div");
    picture.className = "picture";
    picture.style.backgroundImage = "var(--strip)";
    picture.style.backgroundSize = `${data.n * 100}% 100%`;
    picture.style.backgroundPosition = `${data.n > 1 ? (clip / (data.n - 1)) * 100 : 0}% 0`;
    const number = document.createElement("span");
    number.className = "number";
    number.textContent = String(clip + 1);
    number.style.background = colour;
    number.style.color = ink;
    const words = document.createElement("span");
    words.className = "about";
    words.textContent = about;
    picture.append(number);
    item.append(picture, words);
    return item;
  };
  const mount = parentElement.querySelector(".mount");
  mount.style.setProperty("--strip", `url("${data.url}")`);
  mount.setAttribute("role", "list");
  mount.setAttribute("aria-label", data.label);
  mount.replaceChildren(...data.cells.map(cell));
}
