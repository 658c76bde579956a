// Labels that the live models do not know: each is mapped to one of their classes, or its images are left out.

import {h} from './dom.js';
import {className} from './words.js';

export class Mapping {
  // labels: those not known. classes: of the live models. before: an earlier Mapping, whose choices are kept.
  constructor(labels, classes, before = null) {
    this.kept = before?.values() ?? {};
    this.choices = new Map(labels.map((label) => [label, this.choice(label, classes)]));
    this.root = h('fieldset', {class: 'mapping', 'data-key': `mapping ${labels.join(' ')}`, 'data-own': true},
      h('legend', {}, 'These labels are not known'),
      h('p', {class: 'note'}, 'The live models know other classes. Say for each label which class it is, or leave '
        + 'its images out. '
        + 'What you choose stands beside the data from then on.'),
      h('table', {class: 'table'}, h('thead', {}, h('tr', {}, h('th', {scope: 'col'}, 'Label in your data'),
        h('th', {scope: 'col'}, 'Counts as'))),
        h('tbody', {}, [...this.choices].map(([label, select]) => h('tr', {},
          h('th', {scope: 'row'}, h('label', {for: select.id}, label)),
          h('td', {}, select))))));
  }

  choice(label, classes) {
    const guess = this.kept[label] ?? classes.find((name) => [name,
      className(name)].some((n) => n.toLowerCase() === label.toLowerCase()));
    const select = h('select', {id: `map-${Mapping.next = (Mapping.next ?? 0) + 1}`},
      h('option', {value: '?', disabled: true}, 'choose …'),
        classes.map((name) => h('option', {value: name}, `${className(name)} (${name})`)),
      h('option', {value: ''}, 'leave its images out'));
    select.value = guess ?? '?';
    return select;
  }

  // label -> class, or "" to leave its images out. Labels without a choice are not named: the server asks again.
  values() {
    const chosen = [...this.choices].filter(([, select]) => select.value !== '?' && select.value !== undefined);
    return {...this.kept, ...Object.fromEntries(chosen.map(([label, select]) => [label, select.value]))};
  }
}
