// Small tools for the desk's elements. Data reaches the page as text nodes and attributes only, never as markup.

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

const ICONS = {
  play: 'M4.5 2.6v10.8L13 8z',
  pause: 'M4 2.8h2.8v10.4H4zM9.2 2.8H12v10.4H9.2z',
  stepBack: 'M11.5 3v10L5.6 8zM3.8 3h1.6v10H3.8z',
  stepOn: 'M4.5 3v10l5.9-5zM10.6 3h1.6v10h-1.6z',
  clipBack: 'M13.4 3v10L8.2 8zM8.2 3v10L3 8zM1.6 3H3v10H1.6z',
  clipOn: 'M2.6 3v10l5.2-5zM7.8 3v10L13 8zM13 3h1.4v10H13z',
  loop: 'M4.2 4.4h6.3V2.2l3.3 3-3.3 3V6H5v2.2H3.4v-3a.8.8 0 0 1 .8-.8zm7.6 7.2H5.5v2.2l-3.3-3 3.3-3V10H11V7.8h1.6v3a.8.8 0 0 1-.8.8z',
  link: 'M6.6 9.4a2.4 2.4 0 0 0 3.4 0l2.4-2.4a2.4 2.4 0 0 0-3.4-3.4l-.9.9 1 1 .9-.8a1 1 0 0 1 1.4 1.3L9 8.4a1 1 0 0 1-1.4 0zM9.4 6.6a2.4 2.4 0 0 0-3.4 0L3.6 9A2.4 2.4 0 0 0 7 12.4l.9-.9-1-1-.9.8A1 1 0 0 1 4.6 10L7 7.6a1 1 0 0 1 1.4 0z',
  check: 'M6.3 11.9 2.6 8.2l1.1-1.1 2.6 2.6 6-6 1.1 1.1z',
};

function icon(name) {
  return s('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, s('path', { d: ICONS[name] }));
}

/** A button of the desk; `act` is what a click does, `key` the key that does the same. */
function button(act, label, { key = null, pictured = null, kind = '', title = null } = {}) {
  const told = title || label;
  return h('button', { type: 'button', class: `${kind} ${pictured ? 'pictured' : ''}`.trim(), dataset: { act },
    title: key ? `${told} (${key})` : told, 'aria-label': pictured ? told : null },
    pictured ? icon(pictured) : h('span', {}, label), pictured || !key ? null : h('kbd', {}, key));
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
