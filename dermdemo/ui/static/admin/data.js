// Registered data sets.

import {fetched, id} from './api.js';
import {card, h, link, note, table} from './dom.js';
import {count, moment} from './format.js';
import {View} from './view.js';

export class Data extends View {
  get title() { return 'Data'; }

  async load(background) { this.data = (await fetched('/overview', background)).data; }

  render() {
    const add = h('p', {class: 'actions is-left', 'data-key': 'add'},
      link('Register data', '#/data/new', {class: 'button is-main'}));
    const what = note('A job may only use data that were registered: every picture is opened once, counted, and '
      + 'compared with the '
      + 'test lesions of the live models. Those may never be learned from, as the published figures rest on them.');
    if (!this.data.length) return [card('Nothing is registered yet', what,
      note('Begin with the data the live models were made from: '
      + 'new pictures are compared with them. Then add your own.'), add)];
    return [what, add, card('', table('Registered data sets',
      [['Name', ''], ['Id', ''], ['Images', 'number'], ['Lesions', 'number'],
      ['Known to the live models', 'number'], ['Registered', ''], ['By', ''], ['Notes', 'is-wide']],
        this.data.map((data) => ({key: data.id,
      cells: [link(data.name, `#/data/${id(data.id)}`), data.id, count(data.images), count(data.groups),
        count(data.known),
        moment(data.created), data.who, data.notes.join(' ')]}))),
    note('“Known to the live models” counts images of lesions that the live models were trained or chosen on. They '
      + 'may be trained on '
      + 'again, but a candidate is never judged on them.'))];
  }
}
