// Ctrl+K: type a few letters of a page, a saved view or an act, or the number of a pair.

const MOST = 60; // lines drawn at once

class Palette {
  /** `choices()` gives [{label, kind, key, run}] as they are now; `onPair(number)` opens a pair. */
  constructor({ choices, onPair }) {
    this.choices = choices;
    this.onPair = onPair;
    this.field = h('input', { type: 'text', role: 'combobox', 'aria-expanded': 'true', 'aria-controls': 'found', 'aria-autocomplete': 'list', 'aria-label': 'Find a page, a view, an act, or a pair by its number',
      placeholder: 'A page, a view, an act, or the number of a pair', autocomplete: 'off', spellcheck: 'false' });
    this.list = h('ul', { id: 'found', role: 'listbox', 'aria-label': 'Found' });
    this.element = h('dialog', { class: 'palette', 'aria-label': 'Find' }, this.field, this.list);
    this.field.addEventListener('input', () => this._find());
    this.element.addEventListener('click', (event) => {
      const line = event.target.closest('[role="option"]');
      if (line) this._run(Number(line.dataset.at)); else if (event.target === this.element) this.element.close();
    });
  }

  get open() { return this.element.open; }

  show() {
    this.field.value = '';
    this.all = this.choices();
    this._find();
    this.element.showModal();
    this.field.focus();
  }

  close() { this.element.close(); }

  /** A key in the field; the letters themselves are the field's. */
  key(event) {
    const move = { ArrowDown: 1, ArrowUp: -1, Home: -MOST, End: MOST }[event.key];
    if (move && (event.key.startsWith('Arrow') || !this.field.value)) this._mark(clamp(this.at + move, 0, this.found.length - 1));
    else if (event.key === 'Enter') this._run(this.at);
    else if (event.key === 'Escape') this.close();
    else return false;
    return true;
  }

  _find() {
    const asked = this.field.value.trim().toLowerCase(), parts = asked.split(/\s+/).filter(Boolean);
    const number = /^(?:pair\s*)?#?(\d{1,9})$/.exec(asked);
    const fits = ({ label, kind }) => parts.every((part) => label.toLowerCase().includes(part) || (part.length > 2 && kind.startsWith(part)));
    const first = ({ label }) => (label.toLowerCase().startsWith(asked) ? 0 : 1);
    this.found = this.all.filter(fits).sort((one, other) => first(one) - first(other)).slice(0, MOST);
    if (number && this.onPair) this.found.unshift({ label: `Pair ${number[1]}`, kind: 'open', run: () => this.onPair(Number(number[1])) });
    this.list.replaceChildren(...this.found.map((line, at) => h('li', { role: 'option', id: `found-${at}`, dataset: { at } },
      h('span', {}, line.label), h('span', { class: 'muted' }, line.kind), line.key ? h('kbd', {}, line.key) : null)));
    if (!this.found.length) this.list.replaceChildren(h('li', { class: 'none muted' }, 'Nothing of that name.'));
    this._mark(0);
  }

  _mark(at) {
    this.at = Math.max(0, at);
    [...this.list.children].forEach((line, k) => {
      if (line.role === 'option' || line.getAttribute('role') === 'option') line.setAttribute('aria-selected', String(k === this.at));
      if (k === this.at) { this.field.setAttribute('aria-activedescendant', line.id || ''); line.scrollIntoView({ block: 'nearest' }); }
    });
  }

  _run(at) {
    const line = this.found[at];
    if (!line) return;
    this.close();
    line.run();
  }
}

/** The pages as the sidebar names them. A click there changes the page without loading everything again. */
function pages() {
  const name = (link) => [...link.querySelectorAll('p, span')].filter((part) => !part.children.length && !part.closest('[data-testid="stIconMaterial"]'))
    .map((part) => part.textContent.trim()).find(Boolean);
  const links = [...document.querySelectorAll('[data-testid="stSidebarNavLink"]')];
  if (links.length) seenPages = links.map((link) => ({ label: name(link) || link.textContent.trim(), href: link.href }));
  const open = (href) => { const link = links.find((other) => other.href === href && other.isConnected); if (link) link.click(); else location.assign(href); };
  return seenPages.map(({ label, href }) => ({ label, kind: 'page', run: () => open(href) }));
}

let seenPages = []; // as the sidebar showed them last: a collapsed one has none
