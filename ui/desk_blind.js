// A blind look: the clean video, and two responses of which nobody here knows which is which. The payload does not hold it.

class BlindResponses {
  constructor() {
    this.sides = [1, 2].map((number) => {
      const text = scrolling(h('div', { class: 'text', tabindex: '0', role: 'region', 'aria-label': `Response ${number}` }));
      const count = h('span', { class: 'from' });
      return { text, count, card: h('section', { class: 'card' }, h('div', { class: 'cardhead' }, h('kbd', {}, String(number)), h('b', {}, `Response ${number}`), count), text) };
    });
    this.element = h('div', { class: 'responses' }, ...this.sides.map((side) => side.card));
    this.editing = null;
  }

  show(pair) {
    this.sides.forEach(({ text, count }, k) => {
      text.replaceChildren(pair.responses[k]);
      toTop(text);
      count.textContent = `${words(pair.responses[k])} words`;
    });
  }

  clear() {
    for (const { text } of this.sides) text.replaceChildren();
  }
}

const BLIND_DIGITS = { 1: 'left', 2: 'right', 0: 'tie' };

function blindActs() {
  return [button('left', 'Response 1 is better', { fixed: '1', kind: 'pick' }), button('tie', 'About equal', { fixed: '0', kind: 'pick' }),
    button('right', 'Response 2 is better', { fixed: '2', kind: 'pick' })];
}
