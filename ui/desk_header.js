// The line above the players: which pair, how hard, what its checks say; right: how far, how fast, and whether all is saved.

const LEVELS = { 1: 'easy', 2: 'medium', 3: 'hard', 4: 'hardest' };
const VERDICTS = { accepted: 'accepted', rejected: 'rejected', flagged: 'flagged', pending: 'taken back' };

class Header {
  constructor() {
    this.about = h('div', { class: 'about' });
    this.count = h('span', { class: 'muted' });
    this.fill = h('i');
    this.progress = h('span', { class: 'progress', role: 'progressbar', 'aria-label': 'Reviewed', 'aria-valuemin': 0 }, this.fill);
    this.pace = h('span', { class: 'muted pace' });
    this.saved = h('span', { class: 'saved ok', dataset: { testid: 'save' }, role: 'status', 'aria-live': 'polite' }, 'saved');
    this.element = h('header', { class: 'top' }, this.about, h('div', { class: 'far' }, this.count, this.progress, this.pace, this.saved));
    this.drawn = null;
  }

  /** The left part is drawn anew only when it changed, so that an open list of checks stays open. */
  show(pair, looking, campaign) {
    const drawn = pair ? JSON.stringify([pair.id, pair.version, pair.standing, pair.margin, looking && looking.token, campaign]) : 'none';
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    const named = campaign && h('span', { class: 'chip', title: 'Your answers here are opinions: they change no pair' }, campaign.name);
    const first = h('span', { class: 'id', dataset: { testid: 'pair' } }, pair ? `Pair ${pair.id}` : 'Review');
    if (!pair) first.removeAttribute('data-testid');
    this.about.replaceChildren(...[first, looking && lookingBack(looking), named, ...(pair && !pair.responses ? chips(pair, Boolean(looking)) : [])].filter(Boolean));
  }

  reached(now, total, left) {
    this.count.textContent = `${now} of ${total}`;
    this.progress.setAttribute('aria-valuenow', now);
    this.progress.setAttribute('aria-valuemax', total);
    this.fill.style.width = `${total ? (100 * now) / total : 0}%`;
    this.pace.textContent = left || '';
    this.pace.hidden = !left;
  }

  state([told, state]) {
    if (this.saved.textContent === told) return false;
    this.saved.textContent = told;
    this.saved.className = `saved ${state}`;
    return true;
  }
}

const lookingBack = (past) => h('span', { class: 'chip back' }, 'looking back: ', h('b', {}, past.told), button('return', 'Return', { fixed: 'Esc', kind: 'small' }));

function chips(pair, looking) {
  const { level, value } = pair.difficulty || {}, edit = pair.edit, plan = pair.kind !== 'imported';
  const chip = (title, ...inside) => h('span', { class: 'chip', title }, ...inside);
  const aliases = (pair.aliases || []).length ? `On this video r=${pair.magnitude} gives the same as r=${pair.aliases.join(', r=')}` : 'Kind and strength r of the perturbation';
  const made = [
    looking ? null : standing(pair),
    level ? h('span', { class: `chip level l${level}`, title: `Measured difficulty ${value.toFixed(2)} (1 = hard), compared inside ${pair.kind}` },
      h('span', { class: 'meter', 'aria-hidden': 'true' }, ...[1, 2, 3, 4].map((n) => h('i', { class: n <= level ? 'on' : '', style: { height: `${3 * n}px` } }))), h('b', {}, LEVELS[level]))
      : chip('Not made here: no plan, so no measured difficulty', 'imported'),
    plan ? chip(aliases, pair.kind, pair.magnitude ? h('b', {}, `r=${[pair.magnitude, ...(pair.aliases || [])].sort((x, y) => x - y).join('=')}`) : null) : null,
    plan ? chip('Clips of the clean video that the perturbed one still has', `${edit.order.length} of ${edit.ranges.length} clips kept`) : null,
    pair.diff.order_kept === null ? null : chip('Share of matched sentences that both responses tell in the same order', 'order kept', h('b', {}, `${Math.round(100 * pair.diff.order_kept)}%`)),
    plan && edit.order.length === edit.ranges.length && edit.order.every((clip, j) => clip === j) ? h('span', { class: 'chip warn' }, 'no change: the order is the true one') : null,
    checks(pair.checks || []),
    pair.margin ? h('span', { class: `chip ${pair.margin.value < 0 ? 'warn' : ''}`, title: `Reward margin of this pair after run ${pair.margin.run_id}, ${pair.margin.run}: above 0 the model prefers the chosen response` },
      'margin', h('b', {}, `${pair.margin.value < 0 ? '−' : '+'}${Math.abs(pair.margin.value).toFixed(2)}`)) : null,
  ];
  return made.filter(Boolean);
}

// What was decided before, by whom; a click tells the whole story.
function standing(pair) {
  if (!pair.standing && !(pair.history || []).length) return null;
  const { verdict, by } = pair.standing || {};
  return h('button', { type: 'button', class: `chip stands ${verdict || 'open'}`, dataset: { act: 'history', told: 'Who did what, and when' }, title: 'Who did what, and when' },
    verdict ? h('b', {}, VERDICTS[verdict] || verdict) : 'decided before', verdict ? ` by ${by}` : null);
}

// Every filter with what it measured; the failed ones are counted, all are one click away.
function checks(all) {
  if (!all.length) return null;
  const failed = all.filter((check) => !check.passed);
  const line = (check) => h('li', { class: check.passed ? '' : 'failed' }, h('b', {}, check.name.replaceAll('_', ' ')),
    h('span', {}, check.value === null ? '' : Number(check.value).toFixed(2)), h('span', { class: 'muted' }, check.rule));
  return h('details', { class: `checks ${failed.length ? 'warn' : ''}` }, h('summary', { class: 'chip' }, failed.length ? `${failed.length} of ${all.length} checks failed`
    : `${all.length} checks passed`), h('ul', {}, ...all.map(line)));
}

/** How long the rest takes at the pace of this visit; nothing before five decisions. */
function pace(history, left) {
  const recent = history.filter((past) => past.at !== null && past.act !== 'skip').slice(-20);
  if (recent.length < 5 || left <= 0) return '';
  const each = (recent[recent.length - 1].at - recent[0].at) / (recent.length - 1) / 1000;
  const minutes = Math.ceil((left * each) / 60);
  return minutes < 90 ? `${minutes} min left` : `${(minutes / 60).toFixed(1)} h left`;
}
