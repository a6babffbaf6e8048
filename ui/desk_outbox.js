// No review is ever lost: everything that the server has not acknowledged is kept here and in the browser's storage,
// and sent again, whole, until each token is acknowledged. The server writes a token once, however often it comes.

const BEAT_MS = 3000; // while something waits
const LEASE_MS = 120000; // while nothing does: keeps the leases on our pairs and brings fresh addresses

class Outbox {
  /** `send` gives the server the one state value of the component. */
  constructor(reviewer, send) {
    this.send = send;
    this.prefix = `tempo.outbox.${reviewer}.`;
    this.client = Array.from(crypto.getRandomValues(new Uint8Array(8)), (x) => x.toString(16).padStart(2, '0')).join('');
    this.items = [];
    this.sequence = 0;
    this.beat = 0;
    this.soon = false; // something is about to be sent
    this.since = 0; // when the oldest item began to wait
    this._adopt();
    this.ours = new Set(this.items.map((item) => item.token)); // every token that we ever took care of
    this.timer = setInterval(() => this._beat(), BEAT_MS);
    this.lease = setInterval(() => { if (!document.hidden) this.again(); }, LEASE_MS);
    if (this.items.length) this.again();
  }

  /** Keep an item, then send all. Returns it with its token. */
  add(item) {
    const whole = { token: `${this.client}-${++this.sequence}`, at_ms: Date.now(), ...item };
    if (!this.items.length) this.since = Date.now();
    this.items.push(whole);
    this.ours.add(whole.token);
    this._store();
    // The next pair is shown first; sending it, and loading the one after it, come then.
    if (!this.soon) afterPicture(() => { if (this.soon) this._flush(); });
    this.soon = true;
    return whole;
  }

  /** Forget what the server has; returns the items it answered for, with the answers. */
  acknowledge(answers) {
    const answered = this.items.filter((item) => item.token in answers);
    if (!answered.length) return [];
    this.items = this.items.filter((item) => !(item.token in answers));
    this.since = Date.now();
    this._store();
    return answered.map((item) => [item, answers[item.token]]);
  }

  /** Send again as a new value: also asks for a fresh queue and fresh addresses. */
  again() {
    this.beat++;
    this._flush();
  }

  /** "saved", "saving 3", "offline", or "offline, 3 kept here". */
  told() {
    const cut = !navigator.onLine || Boolean(document.querySelector('[data-testid="stDialog"]')); // Streamlit's word that the server is away
    if (!this.items.length) return cut ? ['offline', 'late'] : ['saved', 'ok'];
    const late = cut || Date.now() - this.since > 2.5 * BEAT_MS;
    return late ? [`offline, ${this.items.length} kept here`, 'late'] : [`saving ${this.items.length}`, 'busy'];
  }

  close() {
    clearInterval(this.timer);
    clearInterval(this.lease);
    this.soon = false;
  }

  _beat() {
    if (this.items.length) this.again();
  }

  _flush() {
    this.soon = false;
    this.send({ beat: this.beat, items: this.items.slice() });
  }

  // What earlier clients of this reviewer left (a closed tab, a page that was left, a server that was away).
  _adopt() {
    const found = {};
    try {
      for (const key of Object.keys(localStorage)) {
        if (!key.startsWith(this.prefix)) continue;
        for (const item of JSON.parse(localStorage.getItem(key)) || []) found[item.token] = item;
      }
    } catch { /* storage switched off: nothing was left there */ }
    this.items = Object.values(found).sort((one, other) => one.at_ms - other.at_ms);
    this.since = Date.now();
  }

  // Own items under our key. Of other clients' keys only what we took goes: another tab keeps its new items there.
  _store() {
    const waiting = new Set(this.items.map((item) => item.token));
    try {
      const own = this.items.filter((item) => item.token.startsWith(`${this.client}-`));
      if (own.length) localStorage.setItem(this.prefix + this.client, JSON.stringify(own));
      else localStorage.removeItem(this.prefix + this.client);
      for (const key of Object.keys(localStorage)) {
        if (!key.startsWith(this.prefix) || key === this.prefix + this.client) continue;
        const left = (JSON.parse(localStorage.getItem(key)) || []).filter((item) => waiting.has(item.token) || !this.ours.has(item.token));
        if (left.length) localStorage.setItem(key, JSON.stringify(left)); else localStorage.removeItem(key);
      }
    } catch { /* storage switched off: the items are still in memory and on their way */ }
  }
}
