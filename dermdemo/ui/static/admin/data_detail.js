// One data set: what is in it, what is wrong with it, and how it is split.

import {fetched, id} from './api.js';
import {card, facts, h, link, note, table} from './dom.js';
import {count, moment, plural} from './format.js';
import {hash, images, versionName} from './pieces.js';
import {View} from './view.js';
import {SPLITS, className, named} from './words.js';

// kind of a problem in the audit -> what it means for the person
const MEANT = {
  unreadable: 'They cannot be opened as pictures, or their path leads out of the zip; they are left out.',
  'near-duplicate': 'Almost the same picture stands under two lesions. Each such pair is kept on one side of the '
    + 'split.',
  'duplicate-across-splits': 'The split that came with the data tears them apart: figures would look better than '
    + 'they are.',
};

export class DataDetail extends View {
  get title() { return this.data ? this.data.name : `Data set ${this.params.id}`; }

  async load(background) {
    if (background && this.data) return; // registered once, never changed
    this.data = await fetched(`/data/${id(this.params.id)}`, background);
  }

  render() {
    const {data} = this, {audit} = data;
    return [
      h('p', {class: 'actions is-left', 'data-key': 'go'}, link('Launch a job on it', `#/launch?data=${id(data.id)}`,
        {class: 'button is-main'})),
      data.notes.map((text) => h('p', {class: 'alert is-warn', 'data-key': `n ${text}`}, text)),
      h('div', {class: 'columns', 'data-key': 'columns'},
        h('div', {class: 'stack'}, this.classes(audit), this.split(audit)),
        h('div', {class: 'stack'}, this.facts(), this.problems(audit), this.missing(audit), this.mapping())),
    ];
  }

  facts() {
    const {data} = this;
    return card('In short', facts([['Id', data.id], ['Contents', images(data)],
      ['Registered', `${moment(data.created)} by ${data.who}`],
      ['Where it lies', data.copied ? 'copied into the folder of the app' : h('code', {}, data.source)],
      ['Known to the live models', data.known
        ? `${plural(data.known, 'image')} of lesions that version ${data.live_version} was trained `
        + 'or chosen on. A candidate is not judged on them.' : 'none'],
      ['Compared with',
        `test lesions of `
        + `${versionName(data.live_version).toLowerCase()}${data.overlap ? `, ${data.overlap.compared}` : ''}: none `
        + `stands outside test`],
      ['Data hash', hash(data.data_hash)], ['Split hash', hash(data.split_hash)], ['Split seed', data.split_seed]]));
  }

  classes(audit) {
    const most = Math.max(1, ...Object.values(audit.classes).map((c) => c.images));
    return card('Classes', table('Classes', [['Class', ''], ['Images', 'number'], ['Lesions', 'number'],
      ['', 'is-share']],
      Object.entries(audit.classes).map(([name, c]) => ({key: name, cells: [h('span', {}, className(name), ' ',
        h('small', {}, name)), count(c.images), count(c.groups),
          h('i', {class: 'share', style: `width: ${100 * c.images / most}%`})]}))));
  }

  split(audit) {
    const classes = Object.keys(audit.classes);
    const rows = Object.entries(audit.split_table)
      .map(([name, row]) => ({key: name, cells: [named(SPLITS, name), count(row.groups),
      ...classes.map((c) => count(row[c] ?? 0))]}));
    return card('Split', note('All images of one lesion stand in the same part. Models learn from the training '
      + 'part; validation and '
      + 'calibration choose and tune; test is read once per finished model.'),
        table('Images of each class in each part', [['Part', ''],
      ['Lesions', 'number'], ...classes.map((c) => [h('abbr', {title: className(c)}, c), 'number'])], rows),
        note('Lesions, then images by class.'));
  }

  problems(audit) {
    if (!audit.problems.length) return card('Problems',
      note('None: every picture can be read and no picture stands under two lesions.'));
    return card('Problems', h('ul', {class: 'plain-list'},
      audit.problems.map((problem, k) => h('li', {'data-key': `${problem.kind ?? problem.name} ${k}`},
      h('b', {}, `${count(problem.count)} ${problem.message}`),
        h('p', {class: 'note'}, MEANT[problem.kind ?? problem.name] ?? ''),
      problem.examples?.length > 0 && h('details', {}, h('summary', {}, 'Examples'), h('ul', {class: 'examples'},
        problem.examples.map((example) => h('li', {}, example))))))));
  }

  missing(audit) {
    const columns = Object.entries(audit.missing);
    if (!columns.length) return card('Metadata',
      note('There are no columns beside image, label and lesion. Comparisons by age, sex and site need them.'));
    return card('Missing metadata', note('Empty or unknown cells. Comparisons by age, sex and site leave these '
      + 'images out.'),
      table('Missing metadata', [['Column', ''], ['Missing', 'number'], ['Of all', 'number']],
        columns.map(([name, n]) => ({key: name,
        cells: [name, count(n), audit.images ? `${Math.round(100 * n / audit.images)} %` : '–']}))));
  }

  mapping() {
    const rows = Object.entries(this.data.mapping ?? {});
    return rows.length > 0 && card('Mapped labels',
      facts(rows.map(([label, name]) => [label, name ? className(name) : 'left out'])));
  }
}
