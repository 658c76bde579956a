// All jobs, newest first.

import {fetched} from './api.js';
import {card, h, link, note} from './dom.js';
import {jobRow} from './pieces.js';
import {View} from './view.js';
import {STATES, stateOf} from './words.js';

export class Jobs extends View {
  get title() { return 'Jobs'; }

  async load(background) { this.jobs = (await fetched('/overview', background)).jobs; }

  render() {
    if (!this.jobs.length)
      return card('No job yet', note('A job trains new models beside the live ones. ',
        link('Launch the first one', '#/launch'), '.'));
    const states = Object.keys(STATES).filter((state) => this.jobs.some((job) => job.state === state));
    const shown = this.jobs.filter((job) => !this.only || job.state === this.only);
    const choose = (event) => { this.only = event.currentTarget.value; this.paint(); };
    return [
      h('p', {class: 'filters', 'data-key': 'filter'}, h('label', {for: 'only'}, 'Show'),
        h('select', {id: 'only', on: {change: choose}},
        h('option', {value: ''}, 'all states'),
          states.map((state) => h('option', {value: state}, stateOf(state)[0].toLowerCase())))),
      card('', h('ul', {class: 'jobs'}, shown.map(jobRow))),
    ];
  }
}
