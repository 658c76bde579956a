// The form of a job: built once, read as the request that the server checks. A knob that is left at the recipe's
// value is
// not sent.

import {button, field, fill, h} from './dom.js';
import {plural} from './format.js';
import {versionName} from './pieces.js';
import {DEVICES, GATES, RECIPES, named} from './words.js';

const STAGE1 = [
  [false, 'Keep the VAE', 'Only both classifiers are trained (Stage II). Quicker. Reconstructions and the measure '
    + 'of novelty stay as they are, and the map too where the pictures are the same.'],
  [true, 'Train the VAE anew', 'First the VAE learns from the pictures without their labels (Stage I), then both '
    + 'classifiers on top. Takes much longer; worth it '
    + 'if your pictures look unlike the old ones, and needed where the server says so.'],
];
const STAGES = {pretrain: 'Stage I: the VAE', train: 'Stage II: both classifiers'};
const number = (text, other) => { const n = Number(text); return text.trim() === '' ? other : Number.isFinite(n) ? n
  : text; };

export class LaunchForm {
  constructor({launch, overview, data, changed}) {
    Object.assign(this, {launch, overview, changed});
    this.data = h('select', {id: 'data'}, overview.data.map((d) => h('option', {value: d.id},
      `${d.name} (${d.id}): ${plural(d.images, 'image')}`)));
    if (overview.data.some((d) => d.id === data)) this.data.value = data;
    this.devices = launch.devices.filter((d) => d.usable);
    this.knobs = new Map(launch.knobs.map((knob) => [knob.name, this.knob(knob)]));
    this.seed = h('input', {type: 'number', min: '0', step: '1', value: '0'});
    this.gate = h('select', {}, launch.gates.map((gate) => h('option', {value: gate}, named(GATES, gate))));
    this.hours = h('input', {type: 'number', min: '0.1', max: '720', step: 'any', value: '24'});
    this.resamples = h('input', {type: 'number', min: '1', max: '100000', step: '1', value: '1000'});
    this.base = h('select', {}, h('option', {value: ''}, 'the live one'),
      overview.versions.filter((v) => !v.problem && v.standing !== 'archived')
      .map((v) => h('option', {value: v.number}, versionName(v.number))));
    this.dry = h('input', {type: 'checkbox', id: 'dry', checked: true});
    this.node = this.build();
    this.node.addEventListener('input', () => { this.follow(); this.changed(); });
    this.follow();
  }

  build() {
    return h('form', {id: 'launch', class: 'stack', novalidate: true, 'data-own': true},
      h('section', {class: 'card'}, h('h2', {}, 'Data'), field('Train on', this.data)),
      this.choices('Recipe', 'recipe', this.launch.recipes.map((r) => [r.name, named(RECIPES, r.name), r.expects])),
      this.choices('Stages', 'stage1', STAGE1.map(([value, ...words]) => [String(value), ...words])),
      this.choices('Where', 'device', this.launch.devices.map((d) => [d.name, named(DEVICES, d.name), d.note,
        !d.usable]), this.devices[0]?.name),
      h('section', {class: 'card'}, h('h2', {}, 'Trial run'),
        h('div', {class: 'field is-check'}, this.dry, h('label', {for: 'dry'}, 'First try one batch of every step'),
        h('p', {class: 'help'}, 'Finds in a minute or two what would otherwise fail after hours. Leave it on.'))),
      this.settings());
  }

  choices(title, name, rows, chosen = rows[0]?.[0]) {
    return h('fieldset', {class: 'card'}, h('legend', {}, title),
      rows.map(([value, label, text, off]) => h('label', {class: 'choice'},
      h('input', {type: 'radio', name, value, checked: value === chosen, disabled: Boolean(off)}),
        h('span', {}, h('b', {}, label), h('small', {}, text)))));
  }

  settings() {
    const reset = button('Back to the recipe’s values',
      () => { for (const knob of this.knobs.values()) knob.touched = false; this.follow(); this.changed(); },
      'is-small');
    this.count = h('span', {class: 'soft'});
    const stages = Object.entries(STAGES).map(([stage, title]) => h('fieldset', {'data-stage': stage},
      h('legend', {}, title),
      h('div', {class: 'fields'}, [...this.knobs.values()].filter((knob) => knob.stage === stage)
        .map((knob) => knob.row))));
    return h('details', {class: 'card fold'}, h('summary', {}, 'Settings ', this.count),
      h('p', {class: 'note'}, 'What the recipe sets. Change one thing at a time, or you will not know what helped. ',
        reset), stages,
      h('fieldset', {}, h('legend', {}, 'The job'), h('div', {class: 'fields'},
        field('Random seed', this.seed, 'The same seed with the same settings gives the same models.'),
        field('Judged on', this.gate, 'The part of the data the candidate is compared with the live version on. '
          + 'Lesions the live version has learned from are left out; test is never used.'),
        field('Start from', this.base, 'The version whose VAE or encoders the job begins with, and that it is '
          + 'compared with.'),
        field('Draws for each interval', this.resamples,
          'How often lesions are drawn anew for the 95 % intervals of the comparison.'),
        field('Time limit (hours)', this.hours, 'A longer attempt is ended; it can be resumed.'))));
  }

  knob(knob) {
    const control = knob.type === 'choice' ? h('select', {}, knob.choices.map((c) => h('option', {value: c}, c)))
      : h('input', {type: 'text', inputmode: knob.type === 'number' ? 'decimal' : knob.type === 'integer' ? 'numeric'
        : null, autocomplete: 'off', spellcheck: 'false'});
    const said = h('p', {class: 'said'}), row = field(knob.label, control, knob.help);
    row.append(said);
    control.addEventListener('input', () => { entry.touched = true; });
    const entry = {...knob, control, row, said, touched: false};
    return entry;
  }

  chosen(name) { return this.node?.querySelector(`[name=${name}]:checked`)?.value; }

  // Untouched knobs take the recipe's values; those of Stage I are shown only where there is one.
  follow() {
    const recipe = this.launch.recipes.find((r) => r.name === this.chosen('recipe')), values = recipe?.values ?? {};
    let changed = 0;
    for (const [name, knob] of this.knobs) {
      if (!knob.touched) knob.control.value = values[name] ?? '';
      knob.differs = knob.control.value.trim() !== String(values[name] ?? '');
      knob.row.classList.toggle('is-changed', knob.differs);
      knob.row.title = `Recipe: ${values[name] ?? 'not set'}`;
      if (knob.differs && this.counts(knob)) changed += 1;
    }
    this.node.querySelector('[data-stage=pretrain]').hidden = this.chosen('stage1') !== 'true';
    fill(this.count, changed ? `${plural(changed, 'value')} changed` : 'the recipe’s values');
  }

  counts(knob) { return knob.stage !== 'pretrain' || this.chosen('stage1') === 'true'; }

  values() {
    const knobs = Object.fromEntries([...this.knobs].filter(([, k]) => k.differs && this.counts(k))
      .map(([name, k]) => [name, k.control.value.trim()]));
    return {data: this.data.value, recipe: this.chosen('recipe'), stage1: this.chosen('stage1') === 'true',
      device: this.chosen('device') ?? 'cpu',
      gate: this.gate.value, seed: number(this.seed.value, 0), hours: number(this.hours.value, 24),
        dry_run: this.dry.checked,
      resamples: number(this.resamples.value, 1000), base: this.base.value === '' ? null : Number(this.base.value),
        knobs};
  }

  // Say a refusal beside the knob it names, too.
  mark(refusal) {
    for (const [name, knob] of this.knobs) {
      const wrong = refusal.includes(name) || (refusal && new RegExp(`\\b${name.split('.')[1]}\\b`).test(refusal)
        && knob.differs);
      if (wrong) knob.control.setAttribute('aria-invalid', 'true'); else knob.control.removeAttribute('aria-invalid');
      fill(knob.said, wrong ? refusal : '');
    }
  }
}
