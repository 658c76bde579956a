// What a job was asked for and with which code: enough to do it again.

import {id} from './api.js';
import {card, facts, h, note} from './dom.js';
import {bytes, moment} from './format.js';
import {dataLink, download, hash, versionLink} from './pieces.js';
import {DEVICES, GATES, RECIPES, named} from './words.js';

const SETTINGS = {'stage I': 'Stage I', 'stage II': 'Stage II'};
const HASHES = {base_sha256: 'Starting version', data_hash: 'Data', split_hash: 'Split', code: 'Code'};
const TOLD = new Set(['seed', 'data', 'base', 'repeats', 'differs', ...Object.keys(SETTINGS),
  ...Object.keys(HASHES)]);

export function record(job) {
  const {request, facts: told} = job, knobs = Object.entries(request.knobs ?? {});
  return h('details', {class: 'card fold', 'data-key': 'record'},
    h('summary', {}, 'Record: settings, seed, versions and hashes'),
    job.drift.length > 0 && h('div', {class: 'alert is-warn'}, h('b', {}, 'Changed since this job was launched: '),
      job.drift.join('; '), '. A repeat would run with what is there now.'),
    h('h3', {}, 'Asked for'), facts([['Launched', `${moment(job.created)} by ${job.who}`],
      ['Data', dataLink(job.data, job.data_name)], ['Recipe', named(RECIPES, request.recipe)],
      ['VAE', request.stage1 ? 'trained anew (Stage I)' : 'kept from the starting version'],
        ['Start from', request.base === undefined ? null : versionLink(request.base)],
      ['Device', named(DEVICES, request.device)], ['Judged on', named(GATES, request.gate)],
        ['Random seed', told.seed ?? request.seed], ['Trial run', request.dry_run ? 'yes' : 'no'],
      ['Time limit', request.hours === undefined ? null : `${request.hours} h`],
        ['Draws for each interval', request.resamples],
      ['Changed from the recipe', knobs.length ? knobs.map(([name, value]) => `${name} = ${value}`).join(', ')
        : 'nothing']]),
    Object.entries(SETTINGS).filter(([key]) => told[key])
      .map(([key, title]) => h('details', {'data-key': key}, h('summary', {}, `All settings of ${title}`),
      facts(settings(told[key])))),
    h('h3', {}, 'Hashes'), facts(Object.entries(HASHES)
      .map(([key, label]) => [label, told[key] ? hash(told[key]) : null])),
    h('h3', {}, 'Code and libraries'), facts(Object.entries(told).filter(([key]) => !TOLD.has(key))),
      told.differs && note(`Differs from the job it repeats: ${told.differs}`),
    h('p', {class: 'actions is-left'}, download('Download the record', `/jobs/${id(job.id)}/record`,
      `job-${job.id}.json`)));
}

function settings(text) {
  try { return Object.entries(JSON.parse(text))
    .map(([name, value]) => [name, value === null ? 'none' : String(value)]);
    } catch { return [['as written', text]]; }
}

export function resources(job) {
  const used = job.resources;
  if (!used) return null;
  return card('Resources now', facts([['Processor', used.cpu_percent === null ? null
    : `${Math.round(used.cpu_percent)} % of one core`],
    ['Memory', used.memory_bytes === null ? null : bytes(used.memory_bytes)],
      ['GPU memory', used.gpu_memory_bytes === null ? null : bytes(used.gpu_memory_bytes)],
    ['Free disk', used.disk_free_bytes === null ? null : bytes(used.disk_free_bytes)]]));
}
