// The first page: what is served, what runs, what waits for a decision, and what to do next.

import {fetched, id} from './api.js';
import {card, chip, facts, h, link, note} from './dom.js';
import {moment, plural} from './format.js';
import {ACTIVE, firstLine, hash, jobRow, versionLink} from './pieces.js';
import {View} from './view.js';
import {DEVICES, named, standingOf} from './words.js';

const RECENT = 5;

export class Overview extends View {
  get title() { return 'Overview'; }

  async load(background) { this.seen = await fetched('/overview', background); }

  render() {
    const {jobs, versions, problems = []} = this.seen;
    const active = jobs.filter((job) => ACTIVE.has(job.state))
      .sort((a, b) => (a.state === 'queued') - (b.state === 'queued')
      || (a.id < b.id ? -1 : 1)); // those that run, then those that wait, in their order
    const ended = jobs.filter((job) => !ACTIVE.has(job.state)).slice(0, RECENT);
    const waiting = versions.filter((version) => version.standing === 'candidate');
    return [
      problems.map((text) => h('p', {class: 'alert is-alert', role: 'alert', 'data-key': `p ${text}`}, text)),
      this.steps(active, waiting),
      h('div', {class: 'columns', 'data-key': 'columns'},
        h('div', {class: 'stack'}, this.running(active), this.recent(ended, jobs.length)),
        h('div', {class: 'stack'}, this.waiting(waiting), this.served(versions), this.places())),
    ];
  }

  steps(active, waiting) {
    const {data, jobs} = this.seen;
    const next = waiting.length ? 3 : active.length ? 2 : data.length ? 1 : 0;
    const steps = [
      ['Register data', '#/data', data.length ? `${plural(data.length, 'data set')} registered`
        : 'Nothing is registered yet: begin here.', '#/data/new'],
      ['Launch a job', '#/launch', data.length ? 'Train new models on it.' : 'Needs registered data first.'],
      ['Watch it', '#/jobs', active.length ? `${plural(active.length, 'job')} running or waiting`
        : jobs.length ? `No job runs; ${plural(jobs.length, 'job')} ended.`
          : 'Curves, messages and log of every job.'],
      ['Decide', waiting.length === 1 ? `#/versions/${id(waiting[0].number)}` : '#/versions', waiting.length
        ? `${plural(waiting.length, 'candidate waits', 'candidates wait')} for you`
          : 'Compare with the live version.'],
    ];
    return h('ol', {class: 'steps', 'data-key': 'steps'}, steps.map(([name, href, text, first], k) =>
      h('li', {class: k === next ? 'is-next' : '', 'data-key': name}, link([h('b', {}, `${k + 1} ${name}`),
        h('span', {}, text), k === next && h('em', {}, 'next step')], k === next && first ? first : href))));
  }

  running(active) {
    return card('Running and waiting', active.length ? h('ul', {class: 'jobs'}, active.map(jobRow))
      : note('No job runs or waits.', ' ', this.seen.data.length ? link('Launch one', '#/launch')
        : link('Register data first',
        '#/data/new'), '.'));
  }

  recent(ended, all) {
    return card('Ended lately', ended.length ? h('ul', {class: 'jobs'}, ended.map(jobRow))
      : note('Nothing has ended yet.'),
      all > RECENT && h('p', {class: 'more'}, link('All jobs', '#/jobs')));
  }

  waiting(versions) {
    if (!versions.length) return card('Candidates',
      note('No candidate waits for a decision. A finished job makes one.'));
    return card('Candidates that wait for you', h('ul', {class: 'plain-list'}, versions.map((version) =>
      h('li', {'data-key': version.number}, h('b', {}, versionLink(version.number)), ' ',
        h('span', {class: 'soft'}, `from job ${version.job}, ${moment(version.created)}`),
        h('p', {class: 'clamp'}, version.problem ? chip('Refused', 'alert') : '',
          version.problem || firstLine(version.verdict))))));
  }

  served(versions) {
    const {serving} = this.seen, listed = versions.find((version) => version.number === serving.number);
    return card('Served to visitors now', serving.problem && h('p', {class: 'alert is-alert'}, serving.problem),
      facts([
      ['Version', serving.number === null ? 'by no version' : versionLink(serving.number)],
        ['SHA-256', hash(serving.sha256)],
      ['Made', serving.number === null ? null : listed?.created ? `${moment(listed.created)} by ${listed.who}`
        : 'came with the app'],
      ['Standing', listed && listed.standing !== 'live' ? standingOf(listed.standing)[0] : null]]));
  }

  places() {
    return card('Places for jobs', facts(this.seen.devices.map((device) => [named(DEVICES, device.name),
      device.usable || device.running || device.queued
        ? `${device.running} of ${device.limit} in use${device.queued ? `, ${device.queued} waiting` : ''}`
        : 'none that can be used here'])));
  }
}
