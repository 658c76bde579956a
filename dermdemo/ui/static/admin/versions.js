// All versions of the models and how they stand.

import {fetched} from './api.js';
import {card, chip, h, note, table} from './dom.js';
import {moment} from './format.js';
import {firstLine, hash, jobLink, standingChip, versionLink} from './pieces.js';
import {View} from './view.js';

export class Versions extends View {
  get title() { return 'Versions'; }

  async load(background) { Object.assign(this, await fetched('/overview', background)); }

  render() {
    const rows = this.versions.map((version) =>
      ({key: version.number, css: version.number === this.serving.number ? 'is-served' : '', cells: [
      versionLink(version.number), h('span', {class: 'chips'}, standingChip(version.standing),
        version.problem && chip('Refused', 'alert'),
        version.number === this.serving.number && version.standing !== 'live' && chip('Served now', 'calm')),
      version.created ? moment(version.created) : '', version.who, version.job ? jobLink(version.job) : '',
        hash(version.sha256),
      h('span', {class: 'clamp'}, version.problem || firstLine(version.verdict))]}));
    return [
      this.serving.problem && h('p', {class: 'alert is-alert', role: 'alert', 'data-key': 'problem'},
        this.serving.problem),
      note('A version is one whole set: VAE, both classifiers, map of known lesions, calibration and thresholds. '
        + 'They go live together or not at all. '
        + 'Open one to compare it with the live version and to promote it, roll back to it or archive it.'),
      card('', table('Versions', [['Version', ''], ['Standing', ''], ['Made', ''], ['By', ''], ['Job', ''],
        ['SHA-256', ''], ['Verdict', 'is-wide']], rows)),
      !this.versions.some((version) => version.number)
        && note('Only the shipped version is here. A finished job adds a candidate.'),
    ];
  }
}
