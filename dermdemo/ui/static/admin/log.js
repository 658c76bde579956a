// The end of a step's log. It follows what is written until the person scrolls up, and again once they are back at
// the end.

import {fetched, id} from './api.js';
import {button, h} from './dom.js';
import {stepName} from './words.js';

const NEAR = 24, MOST = 400_000; // px from the end; characters kept

export class Log {
  constructor(job) {
    Object.assign(this, {job, step: '', chosen: false, end: 0, follows: true});
    this.select = h('select', {id: 'log-step',
      on: {change: () => { this.chosen = true; this.open(this.select.value); this.load(false); }}});
    this.text = h('pre', {class: 'log', tabindex: '0', 'aria-label': 'Log', on: {scroll: () => this.scrolled()}});
    this.line = h('span', {class: 'soft'}); // the line being written
    this.jump = button('To the end', () => { this.follows = true; this.toEnd(); }, 'is-small', {hidden: true});
    this.said = h('p', {class: 'note', role: 'status'});
    this.root = h('div', {class: 'log-box', 'data-own': true},
      h('div', {class: 'tools'}, h('label', {for: 'log-step'}, 'Step'), this.select, this.jump), this.text,
      this.said);
  }

  // Steps that have a log, and the one that runs now.
  update(steps, now) {
    const have = [...this.select.options].map((option) => option.value);
    if (steps.join('\n') !== have.join('\n')) this.select.replaceChildren(...steps.map((step) => h('option',
      {value: step}, stepName(step))));
    const step = this.chosen && steps.includes(this.step) ? this.step : steps.includes(now) ? now : steps.at(-1)
      ?? '';
    if (step !== this.step) this.open(step);
    this.select.value = this.step;
    this.root.hidden = !steps.length;
  }

  open(step) {
    Object.assign(this, {step, end: 0, follows: true});
    this.text.replaceChildren(this.line);
    this.line.textContent = '';
  }

  async load(background) {
    const {step} = this;
    if (!step) return;
    let told;
    try { told = await fetched(`/jobs/${id(this.job)}/log?step=${id(step)}&after=${this.end}`, background);
      } catch (error) {
      if (!('status' in error)) throw error;
      this.said.textContent = `The log cannot be shown: ${error.message}`; return;
    }
    if (step !== this.step) return;
    this.said.textContent = '';
    if (told.start !== this.end || told.size < this.end) this.text.replaceChildren(
      told.start > 0 ? `… the first ${told.start.toLocaleString('en')} bytes are not shown …\n` : '', this.line);
    if (told.text) this.line.before(told.text);
    this.line.textContent = told.unfinished ?? '';
    this.end = told.end;
    if (this.text.textContent.length > MOST) this.text.replaceChildren(this.text.textContent.slice(-MOST / 2),
      this.line);
    if (!this.text.textContent) this.said.textContent = 'Nothing has been written yet.';
    if (this.follows) this.toEnd();
  }

  toEnd() { this.text.scrollTop = this.text.scrollHeight; this.jump.hidden = true; }

  scrolled() {
    const {scrollTop, scrollHeight, clientHeight} = this.text;
    this.follows = scrollHeight - scrollTop - clientHeight < NEAR;
    this.jump.hidden = this.follows;
  }
}
