// Which key does what. The keys come from the server (ui/desk_keys.py and the reviewer's own), spelled as event.key.

const NAMED = { ' ': 'Space', ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Control: 'Ctrl' };

/** How our settings spell the key of an event: "a", "Shift+e", "?", "Control+k". */
function spelled({ key, shiftKey, ctrlKey, metaKey, altKey }, letter = key) {
  const sign = letter.length === 1, isLetter = sign && letter.toLowerCase() !== letter.toUpperCase();
  const held = [ctrlKey || metaKey ? 'Control+' : '', altKey ? 'Alt+' : '', shiftKey && (isLetter || !sign) ? 'Shift+' : ''];
  return held.join('') + (sign ? letter.toLowerCase() : letter);
}

class Keys {
  constructor(reviewer) {
    this.store = `tempo.letters.${reviewer}`;
    this.letters = true;
    try { this.letters = localStorage.getItem(this.store) !== 'off'; } catch { /* storage switched off */ }
    this.keys = {};
  }

  set(keys) {
    this.keys = keys;
    this.acts = new Map(Object.entries(keys).filter(([, key]) => key).map(([act, key]) => [key, act]));
  }

  /** Single signs on or off as a set: they get in the way of speech input and of unsteady hands (WCAG 2.1.4). */
  switchLetters() {
    this.letters = !this.letters;
    try { localStorage.setItem(this.store, this.letters ? 'on' : 'off'); } catch { /* for this visit only */ }
  }

  /** The act that a key event asks for, or null. */
  act(event) {
    // On some layouts [ ] and others need AltGr, which browsers report as Ctrl + Alt.
    const graph = event.getModifierState('AltGraph');
    const plain = { key: event.key, code: event.code, shiftKey: event.shiftKey, ctrlKey: event.ctrlKey && !graph, metaKey: event.metaKey, altKey: event.altKey && !graph };
    const spelt = spelled(plain);
    if (spelt === 'Control+z') return 'undo';
    let act = this.acts.get(spelt), found = spelt;
    // On a layout without Latin letters the place of the key counts.
    if (!act && /^[^\x00-\x7f]$/.test(event.key) && /^Key[A-Z]$/.test(event.code)) {
      found = spelled(plain, event.code[3].toLowerCase());
      act = this.acts.get(found);
    }
    return act && (this.letters || !isSign(found)) ? act : null;
  }

  /** The key of an act as a person reads it, or '' when it has none now. */
  shown(act) {
    const key = this.keys[act];
    if (!key || (!this.letters && isSign(key))) return '';
    const parts = key.length > 1 ? key.split('+') : [key];
    return parts.map((part) => NAMED[part] || (part.length === 1 ? part.toUpperCase() : part)).join(' + ');
  }

  /** Write the keys onto the buttons: a hint beside the word, or in the title of a pictured one. */
  mark(root) {
    for (const made of root.querySelectorAll('button[data-act]')) {
      if (made.dataset.fixed) continue;
      const key = this.shown(made.dataset.act), hint = made.querySelector('kbd');
      made.title = key ? `${made.dataset.told} (${key})` : made.dataset.told;
      if (hint) { hint.textContent = key; hint.hidden = !key; }
    }
  }
}

const isSign = (key) => (key.length === 1 && key !== ' ') || /^Shift\+.$/.test(key);
