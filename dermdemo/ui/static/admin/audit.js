// The audit log: who did what and when, newest first, with the hashes of the models and the data concerned.

import {fetched, id} from './api.js';
import {button, card, h, note, table} from './dom.js';
import {count, seconds} from './format.js';
import {download, hash, jobLink, versionLink} from './pieces.js';
import {View} from './view.js';
import {DEEDS, DETAILS, named} from './words.js';

const PAGE = 100;

export class Audit extends View {
  constructor(app, params) {
    super(app, params);
    Object.assign(this, {entries: [], filter: ''});
  }

  get title() { return 'Audit log'; }

  async load(background) {
    const told = await fetched(`/audit?limit=${PAGE}`, background);
    const oldest = told.entries.at(-1)?.seq ?? 0, joins = oldest <= (this.entries[0]?.seq ?? 0) + 1;
    const known = new Map(joins ? this.entries.map((entry) => [entry.seq, entry]) : []);
    for (const entry of told.entries) known.set(entry.seq, entry);
    this.entries = [...known.values()].sort((a, b) => b.seq - a.seq);
    Object.assign(this, {verified: told.verified, wrong: told.problem, total: told.total});
  }

  async more() {
    const last = this.entries.at(-1)?.seq;
    try {
      const told = await fetched(`/audit?limit=${PAGE}&before=${id(last)}`);
      this.entries.push(...told.entries.filter((entry) => entry.seq < last));
      this.problem = null;
    } catch (error) { this.problem = error.message; }
    this.paint();
  }

  render() {
    if (!this.total && this.verified) return [card('Nothing has been done yet',
      note('Every registration, launch, decision and log-in will stand here.'))];
    return [
      this.verified ? h('p', {class: 'alert is-calm', 'data-key': 'verified'}, h('b', {}, 'Verified. '),
        this.total === 1 ? 'The one entry is as it was written.'
          : `All ${count(this.total)} entries fit together: none was changed, removed or put in.`)
        : h('p', {class: 'alert is-alert', role: 'alert', 'data-key': 'verified'}, h('b', {}, 'Not to be trusted. '),
          this.wrong),
      h('div', {class: 'tools', 'data-key': 'tools'}, h('label', {for: 'filter'}, 'Filter'),
        h('input', {id: 'filter', type: 'search', placeholder: 'name, action, job, hash …',
        autocomplete: 'off', on: {input: (event) => { this.filter = event.currentTarget.value; this.paint(); }}}),
      download('Export as table (CSV)', '/audit/export?form=csv'),
        download('Export as it is (JSON lines)', '/audit/export?form=jsonl')),
      this.list(),
      note('Each entry holds the hash of the one before, so a change shows. Keep an export somewhere else now and '
        + 'then: whoever may write to the whole folder of the app could '
        + 'write the log anew.'),
    ];
  }

  list() {
    const words = this.filter.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.entries.filter((entry) => { const text = JSON.stringify(entry).toLowerCase()
      + named(DEEDS, entry.action).toLowerCase(); return words.every((w) => text.includes(w)); });
    const older = this.entries.length < this.total && this.entries.at(-1)?.seq > 1;
    return card('', table('Audit log', [['No.', 'number'], ['Time', ''], ['Who', ''], ['What', 'is-whole'],
      ['About', 'is-wide'], ['Models', ''], ['Data', ''], ['Entry', '']],
      found.map((entry) => ({key: entry.seq, cells: [entry.seq,
        h('time', {datetime: entry.time}, seconds(entry.time)), entry.who, named(DEEDS, entry.action),
        this.about(entry),
        hash(entry.model_hash), hash(entry.data_hash), hash(entry.hash)]}))),
          found.length === 0 && note('No entry fits the filter.'),
    h('p', {class: 'actions is-left'}, h('span', {class: 'soft'},
      words.length ? `${count(found.length)} of ${count(this.entries.length)} shown entries fit`
      : `${count(this.entries.length)} of ${count(this.total)} shown`),
      older && button('Show older', () => this.more())));
  }

  about({details}) {
    return Object.entries(details ?? {}).filter(([, value]) => value !== '')
      .map(([key, value], k) => [k ? ', ' : '', key === 'job' && /^\d+$/.test(value) ? jobLink(value)
      : key === 'version' && /^\d+$/.test(value) ? versionLink(value) : `${named(DETAILS, key)} ${value}`]);
  }
}
