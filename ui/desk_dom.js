// Small tools for the desk's elements. Data reaches the page as text nodes and attributes only, never as markup.

const UNDRAWN_MS = 250; // a hidden tab draws no pictures

/** Make an element. Strings among the children become text nodes. */
function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') element.className = value;
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name === 'style') Object.entries(value).forEach(([key, v]) => element.style.setProperty(key, v));
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Make an SVG element. */
function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set a text, if it is another one: an equal text set anew would be laid out anew too. */
function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Do something once what was just changed is on the screen: two pictures on, and soon also where none is drawn. */
function afterPicture(run) {
  let done = false;
  const once = () => { if (!done) { done = true; run(); } };
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(once, 0)));
  setTimeout(once, UNDRAWN_MS);
}

/** A text that scrolls by itself. Setting `scrollTop` lays the whole page out at once, so `toTop` does it only where needed. */
function scrolling(element) {
  element.addEventListener('scroll', () => { element.scrolled = true; }, { passive: true });
  return element;
}

function toTop(element) {
  if (element.scrolled) element.scrollTop = 0;
  element.scrolled = false;
}

const ICONS = {
  play: 'M4.5 2.6v10.8L13 8z',
  pause: 'M4 2.8h2.8v10.4H4zM9.2 2.8H12v10.4H9.2z',
  stepBack: 'M11.5 3v10L5.6 8zM3.8 3h1.6v10H3.8z',
  stepOn: 'M4.5 3v10l5.9-5zM10.6 3h1.6v10h-1.6z',
  clipBack: 'M13.4 3v10L8.2 8zM8.2 3v10L3 8zM1.6 3H3v10H1.6z',
  clipOn: 'M2.6 3v10l5.2-5zM7.8 3v10L13 8zM13 3h1.4v10H13z',
  loop: 'M4.2 4.4h6.3V2.2l3.3 3-3.3 3V6H5v2.2H3.4v-3a.8.8 0 0 1 .8-.8zm7.6 7.2H5.5v2.2l-3.3-3 3.3-3V10H11V7.8h1.6v3a.8.8 0 0 1-.8.8z',
  link: 'M6.6 9.4a2.4 2.4 0 0 0 3.4 0l2.4-2.4a2.4 2.4 0 0 0-3.4-3.4l-.9.9 1 1 .9-.8a1 1 0 0 1 1.4 1.3L9 8.4a1 1 0 0 1-1.4 0zM9.4 6.6a2.4 2.4 0 0 0-3.4 0L3.6 9A2.4 2.4 0 0 0 7 12.4l.9-.9-1-1-.9.8A1 1 0 0 1 4.6 10L7 7.6a1 1 0 0 1 1.4 0z',
  frames: 'M1.5 3h13v10h-13zM3 4.5v7h4.2v-7zm5.7 0v7H13v-7z',
  guidelines: 'M3 1.8h7l3 3v9.4H3zm1.5 1.5v9.4h7V5.5H9.3V3.3zM5.6 7h4.8v1.2H5.6zm0 2.4h4.8v1.2H5.6z',
  comment: 'M2 2.5h12v8.4H7.2L4 13.8v-2.9H2zm1.5 1.5v5.4h2v1.3l1.4-1.3h5.6V4z',
  palette: 'M7 2.2a4.8 4.8 0 0 1 3.8 7.7l3 3-1.1 1.1-3-3A4.8 4.8 0 1 1 7 2.2zm0 1.6a3.2 3.2 0 1 0 0 6.4 3.2 3.2 0 0 0 0-6.4z',
  close: 'M4.2 3.1 8 6.9l3.8-3.8 1.1 1.1L9.1 8l3.8 3.8-1.1 1.1L8 9.1l-3.8 3.8-1.1-1.1L6.9 8 3.1 4.2z',
  check: 'M6.3 11.9 2.6 8.2l1.1-1.1 2.6 2.6 6-6 1.1 1.1z',
};

function icon(name) {
  return s('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, s('path', { d: ICONS[name] }));
}

/** A button of the desk; `act` is what a click does. The key beside it is filled in by `Keys`, unless it is `fixed`. */
function button(act, label, { pictured = null, kind = '', title = null, fixed = null, keyed = true } = {}) {
  const told = title || label;
  return h('button', { type: 'button', class: `${kind} ${pictured ? 'pictured' : ''}`.trim(), dataset: { act, told, ...(fixed ? { fixed } : {}) },
    title: fixed ? `${told} (${fixed})` : told, 'aria-label': pictured ? told : null },
    pictured ? icon(pictured) : h('span', {}, label), pictured || !keyed ? null : h('kbd', { hidden: !fixed }, fixed || ''));
}

/** From one cell of a map to the next: left and right inside a row, up and down to the other row. */
function walk(cells, from, key) {
  const row = cells.filter((cell) => cell.dataset.row === from.dataset.row), other = cells.filter((cell) => cell.dataset.row !== from.dataset.row);
  const twin = other.find((cell) => cell.dataset.n === from.dataset.n) || other[0];
  const to = { ArrowLeft: row[row.indexOf(from) - 1], ArrowRight: row[row.indexOf(from) + 1], ArrowUp: twin, ArrowDown: twin }[key];
  if (to) to.focus();
}

// First clip to last clip of the clean video: hue and lightness both rise, and every block carries its number.
const RAMP = [[68, 45, 122], [64, 83, 139], [50, 117, 142], [38, 150, 139], [63, 182, 118], [135, 207, 78], [222, 218, 40]];

function clipColour(index, n) {
  const place = (n > 1 ? index / (n - 1) : 0) * (RAMP.length - 1);
  const low = Math.min(RAMP.length - 2, Math.floor(place));
  return RAMP[low].map((channel, k) => Math.round(channel + (RAMP[low + 1][k] - channel) * (place - low)));
}

const css = (rgb) => `rgb(${rgb.join(',')})`;
const luminance = (rgb) => (0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]) / 255;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const ordinal = (n) => `${n}${n % 100 > 10 && n % 100 < 14 ? 'th' : ['th', 'st', 'nd', 'rd'][n % 10] || 'th'}`;
const words = (text) => (text.trim() ? text.trim().split(/\s+/).length : 0);

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(2).padStart(5, '0')}`;
}

/** "just now", "5 min ago", or the day and time of another day; `full` always names the day. */
function ago(at_ms, full = false) {
  const minutes = Math.floor((Date.now() - at_ms) / 60000), at = new Date(at_ms);
  if (!full && minutes < 1) return 'just now';
  if (!full && minutes < 60) return `${minutes} min ago`;
  if (!full && minutes < 1440) return `${Math.floor(minutes / 60)} h ago`;
  return at.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}
