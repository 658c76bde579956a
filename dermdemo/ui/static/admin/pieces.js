// Pieces that several pages show: progress, hashes, rows of jobs, labels of data and versions.

import {address, id, post} from './api.js';
import {ask} from './dialogs.js';
import {button, chip, h, link} from './dom.js';
import {about, count, moment, percent, plural, short} from './format.js';
import {ACTIONS, RECIPES, named, standingOf, stateOf, stepName} from './words.js';

export const ACTIVE = new Set(['queued', 'running', 'stopping']);

// A hash, short; a click copies all of it.
export function hash(value) {
  if (!value) return h('span', {class: 'soft'}, '–');
  const copy = async (event) => {
    const node = event.currentTarget;
    let copied = true;
    try { await navigator.clipboard.writeText(value); } catch { copied = false; }
    node.dataset.said = copied ? 'copied' : 'not copied: select it in the export';
    setTimeout(() => delete node.dataset.said, 1500);
  };
  return h('button', {type: 'button', class: 'hash', title: `SHA-256 ${value}: click to copy`,
    'aria-label': `Copy hash ${short(value)}`, on: {click: copy}}, short(value));
}

export function progress(share, label) {
  const value = share === null || share === undefined ? null : Math.min(1, Math.max(0, share));
  return h('progress', {class: 'bar', max: '1', value, 'aria-label': label});
}

export const stateChip = (state) => chip(stateOf(state)[0], stateOf(state)[1]);
export const standingChip = (standing) => chip(standingOf(standing)[0], standingOf(standing)[1]);
export const jobLink = (job) => link(`Job ${job}`, `#/jobs/${id(job)}`);
export const versionName = (number) => (Number(number) === 0 ? 'Version 0 (shipped)' : `Version ${number}`);
export const versionLink = (number) => link(versionName(number), `#/versions/${id(number)}`);
export const dataLink = (data, name) => link(name && name !== data ? `${name} (${data})` : data,
  `#/data/${id(data)}`);

// "Quick · with Stage I · CPU"
export const recipeWords = (job) => [named(RECIPES, job.recipe), job.stage1 ? 'VAE trained anew'
  : 'VAE kept'].join(' · ');

export function doing(job) { // where a job is, in one line
  if (job.state === 'queued') return 'Waits for a free place';
  const step = job.step ? stepName(job.step) : '';
  const at = job.steps_total ? `step ${Math.min(job.steps_done + 1, job.steps_total)} of ${job.steps_total}` : '';
  return [step, at].filter(Boolean).join(', ');
}

export function jobRow(job) {
  const active = ACTIVE.has(job.state);
  return h('li', {class: 'job', 'data-key': job.id},
    h('div', {class: 'job-head'}, h('b', {}, jobLink(job.id)), stateChip(job.state),
      h('span', {class: 'soft'}, job.data_name || job.data, ' · ', recipeWords(job), ' · ', job.who)),
    active ? h('div', {class: 'job-now'}, h('span', {}, doing(job)),
      h('span', {class: 'soft'}, [job.progress !== null && job.state !== 'queued' ? percent(job.progress) : '',
        job.eta_seconds !== null && job.state !== 'queued' ? `${about(job.eta_seconds)} left` : ''].filter(Boolean)
          .join(' · ')))
      : h('div', {class: 'job-now'}, h('span', {}, ended(job)), h('span', {class: 'soft'}, moment(job.created))),
    active && job.state !== 'queued' && progress(job.progress, `Progress of job ${job.id}`));
}

function ended(job) {
  if (job.candidate !== null && job.candidate !== undefined) return h('span', {}, 'Made ',
    versionLink(job.candidate));
  return job.reason || stateOf(job.state)[2];
}

// Buttons for what may be done with a job now; each asks first and says exactly what happens.
export function jobActions(job, app) {
  return job.actions.filter((name) => Object.hasOwn(ACTIONS, name)).map((name) => {
    const words = ACTIONS[name];
    return button(words.label, () => act(job, name, words, app), words.danger ? 'is-danger' : '', {'data-key': name});
  });
}

async function act(job, name, words, app) {
  const done = await ask({title: words.title, danger: words.danger, sure: words.sure,
    body: [h('p', {}, h('b', {}, `Job ${job.id}`), ` on ${job.data_name || job.data}. `, words.text)],
    run: () => post(`/jobs/${id(job.id)}/${name}`)});
  if (!done) return;
  if (name === 'repeat') { app.say(`Job ${done.id} is queued.`); app.go(`/jobs/${id(done.id)}`); return; }
  app.say(`Job ${job.id}: ${words.label.toLowerCase()} was asked.`);
  app.look();
}

export const download = (label, path, name) => h('a', {class: 'button', href: address(path), download: name ?? true},
  label);
export const images = (data) => `${plural(data.images, 'image')} of ${plural(data.groups, 'lesion')}`;
export const firstLine = (text) => (text ?? '').split('\n')[0];
export const lines = (text) => (text ?? '').split('\n').filter(Boolean);
export {count};
