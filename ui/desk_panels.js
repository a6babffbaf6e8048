// What opens beside or above the desk: the drawer (guidelines, comments, who did what), and the dialog with all keys.
// Guidelines, comments and names are text that people wrote: text nodes only.

const DRAWERS = { guidelines: 'Guidelines', comments: 'Comments', history: 'Who did what' };

/** A drawer is no modal dialog: the desk's keys go on working beside it. Esc, its own key or Close shut it. */
class Drawer {
  constructor({ onComment }) {
    this.onComment = onComment;
    this.kind = null;
    this.drafts = new Map(); // pair id -> a comment that is not sent yet
    this.title = h('h2');
    this.body = h('div', { class: 'body', tabindex: '0', role: 'region' });
    this.foot = h('div', { class: 'foot' });
    this.element = h('aside', { class: 'drawer', role: 'dialog', 'aria-modal': 'false', tabindex: '-1', hidden: true },
      h('div', { class: 'drawerhead' }, this.title, button('closeDrawer', '', { pictured: 'close', title: 'Close', fixed: 'Esc' })), this.body, this.foot);
  }

  toggle(kind, pair, data) {
    if (this.kind === kind) { this.close(); return; }
    this.keep();
    if (!this.kind) this.opener = this.element.getRootNode().activeElement;
    this.kind = kind;
    this.element.hidden = false;
    this.show(pair, data);
    (this.field || this.element).focus({ preventScroll: true });
  }

  close() {
    if (!this.kind) return;
    this.keep();
    this.kind = null;
    this.pair = null;
    this.field = null;
    this.element.hidden = true;
    if (this.opener && this.opener.isConnected) this.opener.focus({ preventScroll: true });
  }

  /** Keep what is written and not sent, for this pair. */
  keep() {
    if (this.field && this.pair) this.drafts.set(this.pair.id, this.field.value);
  }

  /** Draw for a pair. A field in use is left alone while its pair stays. */
  show(pair, data) {
    if (!this.kind) return;
    const same = this.field && this.pair && pair && this.pair.id === pair.id;
    if (!same) this.keep();
    this.pair = pair;
    this.title.textContent = pair && this.kind !== 'guidelines' ? `${DRAWERS[this.kind]}, pair ${pair.id}` : DRAWERS[this.kind];
    this.element.setAttribute('aria-label', this.title.textContent);
    this.body.setAttribute('aria-label', this.title.textContent);
    const drawn = JSON.stringify([this.kind, pair && pair.id, pair && (pair.comments || []).length, pair && (pair.history || []).length, data.guidelines && data.guidelines.sha256]);
    if (drawn === this.drawn && this.body.firstChild) return;
    this.drawn = drawn;
    if (this.kind === 'guidelines') this._guidelines(data.guidelines);
    else if (this.kind === 'comments') this._comments(pair, same);
    else this._history(pair);
  }

  sent() {
    if (!this.field || !this.pair) return;
    const text = this.field.value.trim();
    if (!text) return;
    this.field.value = '';
    this.drafts.delete(this.pair.id);
    this.onComment(this.pair, text);
  }

  _guidelines(now) {
    this.field = null;
    this.foot.replaceChildren();
    if (!now) {
      this.body.replaceChildren(h('p', { class: 'muted' }, 'No guidelines are written yet. An admin writes them in the Settings; every review then names the version that was followed.'));
      return;
    }
    this.body.replaceChildren(h('p', { class: 'muted' }, `Version ${now.number} (${now.sha256.slice(0, 8)}), ${now.by ? `by ${now.by}, ` : ''}${ago(now.created_ms, true)}`), h('div', { class: 'plain' }, now.text));
  }

  _comments(pair, same) {
    const list = (pair && pair.comments) || [];
    const lines = list.map(([author, text, at]) => h('li', {}, h('div', {}, h('b', {}, author), h('span', { class: 'muted' }, ago(at))), h('div', { class: 'plain' }, text)));
    this.body.replaceChildren(list.length ? h('ol', { class: 'thread' }, ...lines) : h('p', { class: 'muted' }, pair ? 'No comments yet.' : 'There is no pair to speak about.'));
    this.body.scrollTop = this.body.scrollHeight;
    if (same) return;
    const before = this.field && this.element.contains(this.element.getRootNode().activeElement);
    this.field = pair ? h('textarea', { 'aria-label': `A comment on pair ${pair.id}`, placeholder: 'What should the others know?', rows: '3', maxlength: '4000' }) : null;
    if (!pair) { this.foot.replaceChildren(); return; }
    this.field.value = this.drafts.get(pair.id) || '';
    this.foot.replaceChildren(this.field, h('div', { class: 'row end' }, button('sendComment', 'Comment', { fixed: 'Ctrl+Enter', kind: 'primary' })));
    if (before) this.field.focus({ preventScroll: true });
  }

  _history(pair) {
    this.field = null;
    this.foot.replaceChildren();
    const told = (line) => h('li', { class: line.undone ? 'undone' : '' }, h('div', {}, h('b', {}, line.by), ` ${line.did}`, line.undone ? ' (taken back)' : null, h('span', { class: 'muted' }, ago(line.at_ms, true))),
      line.reason ? h('div', { class: 'plain' }, line.reason) : null);
    const lines = ((pair && pair.history) || []).map(told);
    this.body.replaceChildren(lines.length ? h('ol', { class: 'thread' }, ...lines) : h('p', { class: 'muted' }, 'Nobody decided about this pair yet.'));
  }
}

/** All keys, as they are now, and the switch for letters. */
class Help {
  constructor(keys) {
    this.keys = keys;
    this.list = h('dl');
    this.letters = button('letters', '', { keyed: false });
    this.element = h('dialog', { 'aria-label': 'Keys' }, h('div', { class: 'helpbox' }, h('h2', {}, 'Keys'), this.list,
      h('div', { class: 'row end' }, this.letters, button('help', 'Close', { fixed: 'Esc' }))));
    this.element.addEventListener('click', (event) => { if (event.target === this.element) this.element.close(); });
  }

  get open() { return this.element.open; }

  show(words, fixed) {
    const lines = Object.entries(words).map(([act, told]) => [this.keys.shown(act) || '–', told]);
    this.list.replaceChildren(...[...lines, ...fixed].map(([key, told]) => h('div', {}, h('dt', {}, h('kbd', {}, key)), h('dd', {}, told))));
    this.letters.firstChild.textContent = this.keys.letters ? 'Switch single letters off' : 'Switch single letters on';
    this.letters.title = 'Letters and signs as keys, as a set: off if you speak to your computer or type by accident';
    if (!this.open) this.element.showModal();
  }

  close() { this.element.close(); }
}
