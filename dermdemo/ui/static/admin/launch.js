// Launch a job: the form on the left, what it will take on the right. The server checks the settings at every change
// and
// says what does not work in its own words.

import {Away, fetched, id, poll, post} from './api.js';
import {ask} from './dialogs.js';
import {card, facts, fill, h, link, note} from './dom.js';
import {bytes, duration} from './format.js';
import {LaunchForm} from './launch_form.js';
import {View} from './view.js';
import {stepName} from './words.js';

const PAUSE = 500; // ms after the last change

export class Launch extends View {
  get title() { return 'Launch a job'; }

  async load(background) {
    if (this.form) return;
    const [launch, overview] = await Promise.all([fetched('/launch', background), fetched('/overview', background)]);
    this.data = overview.data;
    if (!this.data.length) return;
    this.form = new LaunchForm({launch, overview, data: this.params.query.get('data'),
      changed: () => this.changed()});
    this.form.node.addEventListener('submit', (event) => { event.preventDefault(); this.launch(); });
    this.machine = launch.machine;
    this.changed(0);
  }

  leave() { clearTimeout(this.waiting); }

  render() {
    if (!this.form) return [card('Nothing to train on yet',
      note('A job needs registered data. ', link('Register some', '#/data/new'),
      ' first; it takes a folder of the server or a zip.'))];
    return [
      h('p', {class: 'lead', 'data-key': 'lead'},
        'A job trains new models beside the live ones. Nobody is served by them until you compare '
        + 'and promote them on the page Versions.'),
      h('div', {class: 'columns is-form', 'data-key': 'columns'}, this.form.node,
        h('aside', {class: 'stack aside'}, this.cost())),
    ];
  }

  changed(pause = PAUSE) {
    clearTimeout(this.waiting);
    this.stale = true;
    if (pause) this.paint();
    this.waiting = setTimeout(() => this.check(), pause);
  }

  async check() {
    const asked = this.asking = (this.asking ?? 0) + 1;
    const current = () => asked === this.asking && !this.gone;
    let plan = null, refused = '';
    try { plan = await post('/launch/check', this.form.values()); } catch (error) { refused = error.message; }
    if (!current()) return; // something was changed meanwhile
    Object.assign(this, {plan, refused, stale: false});
    this.form.mark(refused);
    this.paint();
    if (plan?.cost_task && plan.cost_task !== this.measured) await this.measure(plan.cost_task, current);
  }

  // The server measures what such a job costs here; when it is done the same check has the figures.
  async measure(task, current) {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
      if (!current()) return;
      let told;
      try { told = await poll(`/tasks/${id(task)}`); } catch (error) { if (error instanceof Away) continue;
        told = {state: 'failed', error: error.message}; }
      if (!current()) return;
      if (told.state === 'running') { this.measuring = told; this.paint(); continue; }
      Object.assign(this, {measuring: null, measured: task});
      if (told.state === 'done') return void this.check();
      this.plan = {...this.plan, cost_task: null, cost_problem: told.error};
      return void this.paint();
    }
  }

  cost() {
    const {plan, refused, stale} = this;
    const body = h('div', {class: stale ? 'is-stale' : '', 'aria-live': 'polite'});
    if (refused) fill(body, h('p', {class: 'alert is-alert', role: 'alert'}, refused));
    else if (!plan) fill(body, note('Checking …'));
    else fill(body, this.figures(plan), (plan.warnings ?? [])
      .map((text) => h('p', {class: 'alert is-warn', 'data-key': text}, text)),
      h('h3', {}, 'What will be done'), h('ol', {class: 'done'}, plan.summary.map((text) => h('li', {}, text))));
    return card('What it will take', this.machine && note(this.machine), body, h('p', {class: 'actions is-left'},
      h('button', {type: 'submit', form: 'launch', class: 'button is-main', disabled: Boolean(refused) || !plan
        || stale}, 'Launch …')));
  }

  figures({cost, cost_problem: problem}) {
    if (!cost) return note(problem || `The server is measuring what such a job takes here${this.measuring
      ? ` (${duration(this.measuring.seconds)})` : ''}. You may launch without waiting for it.`);
    const size = (n) => (n === null || n === undefined ? null : `about ${bytes(n)}`);
    return [facts([['Time', h('b', {}, span(cost.seconds_low, cost.seconds_high))],
      ['Memory', size(cost.memory_bytes)],
      ['GPU memory', size(cost.gpu_memory_bytes)], ['Disk', size(cost.disk_bytes)]]), cost.parts?.length > 0
      && h('details', {class: 'full', 'data-key': 'parts'}, h('summary', {}, 'Time of each step'),
        facts(cost.parts.map((part) =>
        [stepName(part.name), span(part.seconds_low, part.seconds_high)]))), note(cost.basis)];
  }

  async launch() {
    if (!this.plan || this.refused || this.stale) return;
    const values = this.form.values(), {cost, summary} = this.plan;
    const done = await ask({title: 'Launch this job?', sure: 'Launch',
      body: [cost ? `It takes ${span(cost.seconds_low, cost.seconds_high)} on this machine and about `
        + `${bytes(cost.disk_bytes)} of disk. The live models are not touched.`
        : 'How long it takes here is not known yet. The live models are not touched.',
        h('ol', {class: 'done'}, summary.map((text) => h('li', {}, text)))],
      run: () => post('/launch', values)});
    if (!done) return;
    this.app.say(`Job ${done.id} is queued.`);
    this.app.go(`/jobs/${id(done.id)}`);
  }
}

function span(low, high) { // "40 min to 1 h 10 min"
  if (low === null || low === undefined) return 'a time that is not known';
  const [a, b] = [duration(low), duration(high)];
  return a === b ? `about ${a}` : `${a} to ${b}`;
}
