// Reconstructions as they improve: one grid of originals and reconstructions per epoch kept, with a slider. It
// follows the
// newest one until the person moves back.

import {address, id} from './api.js';
import {h} from './dom.js';

export class Pictures {
  constructor(job) {
    Object.assign(this, {job, epochs: [], at: -1, follows: true});
    this.slider = h('input', {type: 'range', id: 'grid-epoch', min: '0', max: '0', step: '1',
      on: {input: () => this.move(Number(this.slider.value))}});
    this.label = h('label', {for: 'grid-epoch'});
    this.image = h('img', {class: 'grid', alt: '', on: {
      error: () => { this.said.textContent = 'This picture cannot be shown.'; },
        load: () => { this.said.textContent = ''; this.image.classList.remove('is-late'); }}});
    this.said = h('p', {class: 'note', role: 'status'});
    this.root = h('div', {class: 'pictures', 'data-own': true}, h('div', {class: 'slider'}, this.label, this.slider),
      this.image, this.said,
      h('p', {class: 'note'}, 'Original above, reconstruction below, the same validation pictures at every epoch. '
        + 'They are patients’ pictures of your data set: they are shown to '
        + 'administrators only.'));
  }

  update(run) {
    const changed = run.name !== this.run || run.grids.length !== this.epochs.length;
    Object.assign(this, {run: run.name, epochs: run.grids});
    if (!changed) return;
    this.slider.max = String(Math.max(0, this.epochs.length - 1));
    this.slider.disabled = this.epochs.length < 2;
    this.move(this.follows ? this.epochs.length - 1 : Math.min(this.at, this.epochs.length - 1), false);
  }

  move(at, chosen = true) {
    if (chosen) this.follows = at === this.epochs.length - 1;
    this.at = at; this.slider.value = String(at);
    const epoch = this.epochs[at], newest = at === this.epochs.length - 1;
    this.label.textContent = `Epoch ${epoch}${newest ? ' (newest)' : ''}`;
    this.slider.setAttribute('aria-valuetext', this.label.textContent);
    const src = address(`/jobs/${id(this.job)}/grid?run=${id(this.run)}&epoch=${id(epoch)}`);
    if (this.image.getAttribute('src') === src) return;
    this.image.classList.add('is-late');
    this.image.alt = `Originals and reconstructions after epoch ${epoch}`;
    this.image.src = src;
  }
}
