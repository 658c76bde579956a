// Watch a job: where it is, what is wrong with it, its curves, pictures and log, and what may be done with it.

import {fetched, id} from './api.js';
import {Charts} from './charts.js';
import {card, h, note} from './dom.js';
import {about, duration, percent} from './format.js';
import {record, resources} from './job_record.js';
import {Log} from './log.js';
import {Pictures} from './pictures.js';
import {ACTIVE, dataLink, doing, jobActions, jobLink, progress, recipeWords, stateChip,
  versionLink} from './pieces.js';
import {View} from './view.js';
import {DEVICES, named, stateOf, stepName} from './words.js';

const MARKS = {waiting: '', running: '', done: '✓', stopped: '✓', failed: '✕'};
const SAID = {waiting: 'waits', running: 'running', done: 'done', stopped: 'stopped early, kept', failed: 'failed'};

export class Job extends View {
  constructor(app, params) {
    super(app, params);
    Object.assign(this, {charts: new Map(), run: null, log: new Log(params.id), pictures: new Pictures(params.id)});
  }

  get title() { return `Job ${this.params.id}`; }

  async load(background) {
    this.job = await fetched(`/jobs/${id(this.params.id)}`, background);
    this.log.update(this.job.logs, this.job.step);
    await this.log.load(background);
  }

  leave() { for (const charts of this.charts.values()) charts.leave(); }

  paint() {
    super.paint();
    const run = this.ready && this.job && this.chosen();
    if (run) this.charts.get(run.name).shown(run);
    if (this.log.follows) this.log.toEnd();
  }

  // The run whose curves are shown: the one chosen, else the newest.
  chosen() { return this.job.runs.find((run) => run.name === this.run) ?? this.job.runs.at(-1); }

  render() {
    const {job} = this;
    return [this.now(), this.messages(), h('div', {class: 'columns is-job', 'data-key': 'columns'},
      h('aside', {class: 'stack'}, this.steps(), this.attempts(), resources(job)),
      h('div', {class: 'stack'}, this.outcome(), this.curves(), this.grids(),
        card('Log', job.logs.length ? this.log.root : note('Nothing has been written yet.')), record(job)))];
  }

  now() {
    const {job} = this, active = ACTIVE.has(job.state), runs = active && job.state !== 'queued';
    const said = job.messages.some((message) => message.level === 'error') ? '' : job.reason; // or below, at length
    return h('section', {class: 'card now', 'data-key': 'now'},
      h('p', {class: 'lead'}, stateChip(job.state), ' ', said || stateOf(job.state)[2]),
      h('p', {class: 'soft'}, 'On ', dataLink(job.data, job.data_name),
        ` · ${recipeWords(job)} · ${named(DEVICES, job.device)} · launched by ${job.who}`,
        job.repeats && [' · repeats ', jobLink(job.repeats)]),
      runs && h('div', {class: 'progress'}, h('div', {}, h('b', {}, doing(job)),
        h('span', {}, [job.progress === null ? '' : percent(job.progress),
        job.eta_seconds === null ? 'time left not known yet' : `${about(job.eta_seconds)} left`].filter(Boolean)
          .join(' · '))), progress(job.progress, 'Progress of the job')),
      job.state === 'queued' && job.eta_seconds !== null && h('p', {class: 'soft'},
        `Takes ${about(job.eta_seconds)} once it runs.`),
      job.actions.length > 0 && h('p', {class: 'actions is-left'}, jobActions(job, this.app)));
  }

  messages() {
    const loud = this.job.messages.filter((message) => message.level !== 'info');
    return loud.length > 0 && h('ul', {class: 'messages', 'data-key': 'messages', 'aria-live': 'polite'},
      loud.map((message, k) => h('li', {'data-key': k,
      class: `alert is-${message.level === 'error' ? 'alert' : 'warn'}`},
        message.step && h('b', {}, `${stepName(message.step)}: `), message.text)));
  }

  steps() {
    const {job} = this;
    return card('Steps', h('ol', {class: 'step-list'},
      job.steps.map((step) => h('li', {class: `is-${step.state}`, 'data-key': step.name,
      'aria-current': step.state === 'running' ? 'step' : null},
      h('i', {'aria-hidden': 'true'}, MARKS[step.state] ?? ''),
        h('span', {}, stepName(step.name), h('span', {class: 'off'}, `: ${SAID[step.state] ?? step.state}`),
        step.state === 'stopped' && h('small', {}, 'stopped early, kept')),
          h('time', {}, step.seconds === null ? '' : duration(step.seconds))))));
  }

  attempts() {
    const {attempts} = this.job, modes = {fresh: 'from the first step', resume: 'resumed',
      keep: 'with what was reached'};
    if (attempts.length < 2) return null;
    return card('Attempts', h('ol', {class: 'plain-list'},
      attempts.map((attempt) => h('li', {'data-key': attempt.attempt},
      h('b', {}, `${attempt.attempt}: ${named(modes, attempt.mode)}`),
      h('p', {class: 'note'}, [(attempt.end ? stateOf(attempt.end)[0] : 'Under way')
        + (attempt.seconds === null ? '' : ` after ${duration(attempt.seconds)}`), attempt.reason]
        .filter(Boolean).join('. '))))));
  }

  outcome() {
    const {job} = this;
    if (job.candidate === null && !job.verdict) return null;
    return card('Outcome', job.candidate !== null && h('p', {}, 'It made ', versionLink(job.candidate),
      '. Compare it with the live version there, and decide.'),
      job.verdict && job.verdict.split('\n').map((line) => h('p', {class: 'note clamp'}, line)));
  }

  curves() {
    const {job} = this, shown = this.chosen();
    if (!shown) return card('Curves', note(ACTIVE.has(job.state) ? 'Curves come with the first training step.'
      : 'No training step of this job has written curves.'));
    for (const run of job.runs) if (!this.charts.has(run.name)) this.charts.set(run.name, new Charts(run));
    for (const [name, charts] of this.charts) charts.root.hidden = name !== shown.name;
    const pick = (run) => h('button', {type: 'button', 'data-key': run.name, 'aria-pressed': String(run === shown),
      on: {click: () => { this.run = run.name; this.paint(); }}}, stepName(run.name));
    return card('Curves', h('div', {class: 'picks', role: 'group', 'aria-label': 'Training step'},
      job.runs.map(pick)), h('p', {class: 'note'}, where(shown),
      ' Drag over a chart to zoom, double-click to see all of it.'),
        [...this.charts.values()].map((charts) => charts.root));
  }

  grids() {
    const run = [...this.job.runs].reverse().find((r) => r.grids.length);
    if (!run) return null;
    this.pictures.update(run);
    return card('Reconstructions', this.pictures.root);
  }
}

const ENDS = {completed: 'All epochs are done.', 'early-stopping': 'It stopped early, as nothing got better.',
  stopped: 'It was stopped; what it had reached was kept.'};

function where(run) {
  const speed = run.images_per_second ? `, ${Math.round(run.images_per_second)} images per second` : '';
  if (run.finished) return `${run.epoch} of ${run.epochs} epochs. ${named(ENDS, run.finished)}`;
  const [views, total] = run.prepared, before = run.epoch ? `Epoch ${run.epoch} of ${run.epochs} is done. ` : '';
  if (total) return `${before}The frozen layers read the images: view ${views} of ${total}.`;
  return !run.epochs ? 'The images are being read.'
    : `Epoch ${run.epoch} of ${run.epochs}, pictures of ${run.size} px${speed}.`;
}
