// One version: the verdict, the comparison line by line, and the decision.

import {fetched, id, post} from './api.js';
import {ask} from './dialogs.js';
import {button, card, facts, h, note} from './dom.js';
import {bytes, moment, plural} from './format.js';
import {comparison} from './comparison.js';
import {hash, jobLink, standingChip, versionLink, versionName} from './pieces.js';
import {verdict, worse} from './verdict.js';
import {View} from './view.js';
import {ARMS, MODELS, SPLITS, className, named, standingOf} from './words.js';

export class VersionPage extends View {
  get title() { return versionName(this.params.id); }

  async load(background) {
    const path = `/versions/${id(this.params.id)}`, overview = await fetched('/overview', background);
    const row = overview.versions.find((v) => v.number === Number(this.params.id));
    const seen = JSON.stringify([row, overview.serving.number, live(overview)]);
    // the comparison never changes
    if (!this.detail || seen !== this.seen) this.detail = await fetched(path, background);
    const problem = row?.problem || this.detail.problem;
    Object.assign(this, {overview, seen, version: {...this.detail, ...row, problem}});
  }

  get serving() { return this.overview.serving.number; }

  render() {
    const {version} = this, {gate} = version;
    return [
      h('p', {class: 'lead', 'data-key': 'standing'}, standingChip(version.standing), ' ',
        standingOf(version.standing)[2]),
      version.problem && h('div', {class: 'alert is-alert', role: 'alert', 'data-key': 'problem'},
        h('b', {}, 'Refused: it will not be served. '), version.problem),
      this.changedSince(),
      version.standing === 'candidate' && gate && verdict(gate),
      this.decision(),
      h('div', {class: 'columns is-form', 'data-key': 'columns'},
        h('div', {class: 'stack'}, version.standing !== 'candidate' && gate && verdict(gate),
          gate ? gate.arms.map((arm) => comparison(arm)) : card('Comparison', note(version.number
          ? 'The comparison this version was judged by is not there any more.'
            : 'The shipped version was not made by a job here, so it was compared with nothing. Its own figures '
            + 'stand in the app, on the tab Models.'))),
        h('aside', {class: 'stack aside'}, gate && this.judged(gate), this.facts())),
    ];
  }

  // The version compared with is no longer the one that is live.
  changedSince() {
    const {version, serving} = this, base = version.gate_base;
    if (version.standing !== 'candidate') return null;
    const other = serving !== null && base !== null && base !== undefined && base !== serving;
    const text = version.gate_note || (other && `This candidate was compared with ${lower(base)}; served now is `
      + `${lower(serving)}. The figures do not say how it compares with that one.`);
    return text && h('div', {class: 'alert is-warn', 'data-key': 'since'},
      other && h('b', {}, 'The live version has changed since this comparison. '), text);
  }

  decision() {
    const {version} = this, {actions} = version;
    if (!actions.length) return null;
    const can = (name, label, kind) => actions.includes(name) && button(label, () => this.decide(name), kind,
      {'data-key': name});
    return h('section', {class: 'card decision', 'data-key': 'decision'}, h('h2', {}, 'Decide'),
      h('p', {class: 'actions is-left'},
      can('promote', `Promote ${versionName(version.number).toLowerCase()}`, 'is-main'),
        can('rollback', `Roll back to ${versionName(version.number).toLowerCase()}`, 'is-main'),
      can('archive', 'Archive', '')), note('Nothing is switched by itself. What you decide stands in the audit log '
        + 'under your name.'));
  }

  async decide(name) {
    const {version, serving} = this, to = versionName(version.number), from = serving === null ? 'What is served now'
      : versionName(serving);
    const swap = `${from} serves visitors now. ${to} takes its place: VAE, both classifiers, map, calibration and `
      + `thresholds in one step. It is loaded and every file checked first; if `
      + `anything is wrong, ${from.toLowerCase()} keeps serving. No visitor is interrupted, and you can roll back `
        + `at any time.`;
    const poorer = version.gate ? worse(version.gate) : [];
    const words = {
      promote: {title: `Promote ${to} in place of ${from}?`, sure: `Promote ${to}`,
        body: [swap, poorer.length > 0 && h('p', {class: 'alert is-warn'},
        h('b', {}, 'Worse than what it was compared with in: '), `${poorer.join('; ')}.`)].filter(Boolean)},
      rollback: {title: `Roll back from ${from} to ${to}?`, sure: `Roll back to ${to}`, body: [swap]},
      archive: {title: `Archive ${to}?`, sure: `Archive ${to}`,
        body: [`It is taken out of the choice; its files are kept. ${from} keeps serving.`]},
    }[name];
    const done = await ask({...words, working: name === 'archive' ? 'Archiving …'
      : 'Loading and checking the models …', run: () => post(`/versions/${id(version.number)}/${name}`,
      name === 'archive' ? {} : {live: live(this.overview)})});
    if (!done) return;
    this.app.say({promote: `${to} is live now.`, rollback: `${to} is live again.`,
      archive: `${to} is archived.`}[name]);
    this.app.look();
  }

  judged(gate) {
    const {version} = this;
    return card('How it was judged', facts([
      ['On', `${named(SPLITS, gate.split).toLowerCase()} lesions of ${gate.source}`],
      ...gate.arms.map((arm) => [named(ARMS, arm.arm),
        `${plural(arm.n_images, 'image')} of ${plural(arm.n_lesions, 'lesion')}`]),
      ['Left out', gate.left_out ? `${plural(gate.left_out, 'image')}: the live models were trained or chosen on `
        + `them` : 'nothing'],
      ['Compared with', version.gate_base === null || version.gate_base === undefined ? null
        : versionLink(version.gate_base)],
      ['Split hash', hash(gate.split_hash)]]),
    h('h3', {}, 'How often test was read'),
      facts([...readings(version), ...Object.entries(gate.readings).filter(([name]) => name.startsWith('live '))
      .map(([name, n]) => [`${named(ARMS, name.slice(5))}, live`, `${times(n)}, when it was judged`])]),
    note('The comparison does not read test. Each reading makes the test figures a little less trustworthy, so they '
      + 'are counted.'));
  }

  facts() {
    const {version} = this;
    return card('The set', facts([['Made', version.created ? `${moment(version.created)} by ${version.who}`
      : 'came with the app'],
      ['From', version.job ? jobLink(version.job) : null], ['Classes', version.classes?.map(className).join(', ')],
      ['Size', version.files ? `${plural(version.files, 'file')}, ${bytes(version.bytes)}` : null],
        ['SHA-256', hash(version.sha256)],
      ['Data hash', hash(version.data_hash)], ...Object.entries(version.models ?? {})
        .map(([name, value]) => [named(MODELS, name), hash(value)])]));
  }
}

const lower = (number) => versionName(number).toLowerCase();
const live = (overview) => overview.versions.find((version) => version.standing === 'live')?.number ?? null;
const times = (n) => (n === null ? 'not known' : plural(n, 'time'));
const readings = (version) => Object.entries(version.readings ?? {})
  .map(([name, n]) => [named(MODELS, name), times(n)]);
