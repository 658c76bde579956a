// Register data: choose a folder of the server or send a zip, wait for the check, map labels that are not known.

import {Away, fetched, get, id, poll, post, renew, upload} from './api.js';
import {button, card, field, fill, h, note} from './dom.js';
import {bytes, duration, percent} from './format.js';
import {Mapping} from './mapping.js';
import {progress} from './pieces.js';
import {View} from './view.js';

const EVERY = 1000; // ms between looks at a check
const KINDS = {folder: 'folder', csv: 'table (CSV)', zip: 'zip', parquet: 'table (parquet)'};

export class Register extends View {
  constructor(app, params) {
    super(app, params);
    Object.assign(this, {chosen: null, sent: null, task: null, mapping: null, sending: null, refused: ''});
    this.name = h('input', {type: 'text', maxlength: '80', autocomplete: 'off'});
    this.seed = h('input', {type: 'number', min: '0', step: '1', value: '0'});
    this.only = h('input', {type: 'checkbox', id: 'names-only'});
    this.file = h('input', {type: 'file', accept: '.zip,application/zip', id: 'zip', class: 'off',
      on: {change: () => this.send(this.file.files[0])}});
  }

  get title() { return 'Register data'; }

  async load(background) {
    if (this.roots) return;
    const told = await fetched('/data/folders', background);
    Object.assign(this, {roots: told.roots, limit: told.upload_limit ?? null});
  }

  leave() { this.sending?.abort(); }

  get busy() { return this.task?.state === 'running' || Boolean(this.sending); }

  render() {
    return [
      h('div', {class: 'columns', 'data-key': 'source'}, this.folders(), this.drop()),
      card('Check and register', this.what(), h('div', {class: 'fields'},
        field('Name', this.name, 'How it is called on this page. Empty: the name of the folder or file.')),
      h('details', {class: 'fold'}, h('summary', {}, 'Settings'), h('div', {class: 'fields'},
        field('Split seed', this.seed, 'Another number deals the lesions to training, validation, calibration and '
          + 'test in another way. '
          + 'Leave 0 unless you know why.'),
        h('div', {class: 'field is-check'}, this.only, h('label', {for: 'names-only'}, 'Compare by names only'),
          h('p', {class: 'help'}, 'If the live models’ own data are not registered, pictures cannot be compared '
            + 'with their test lesions. '
            + 'With this tick only image and lesion names are compared, and that stands beside the data from then '
              + 'on.')))),
      this.progress(), this.mapping?.root, h('p', {class: 'actions is-left'},
        button(this.mapping ? 'Try again with this mapping' : 'Check and register',
        () => this.register(), 'is-main', {disabled: this.busy || !(this.chosen || this.sent)}))),
    ];
  }

  folders() {
    if (!this.roots.length) return card('From a folder of the server',
      note('No folder is open to registration. Whoever runs the server lists '
      + 'folders in the variable DERMDEMO_DATA (see the administration guide). A zip can be sent without that.'));
    const row = (entry) => h('li', {'data-key': entry.path},
      h('label', {class: 'pick'}, h('input', {type: 'radio', name: 'folder', value: entry.path,
      disabled: this.busy, checked: this.chosen?.path === entry.path, on: {change: () => this.choose(entry)}}),
        h('span', {}, entry.name, ' ',
      h('small', {}, KINDS[entry.kind] ?? entry.kind))));
    return card('From a folder of the server',
      note('Folders that whoever runs the server has opened for this. A folder stays where it is.'),
      this.roots.map((root) => h('div', {class: 'root', 'data-key': root.path}, h('p', {}, h('code', {}, root.path)),
        root.entries.length
        ? h('ul', {class: 'tree'}, root.entries.map(row)) : note('Nothing is in it.'),
          root.more && note('There is more in it than is listed here.'))));
  }

  drop() {
    const over = (event) => { event.preventDefault(); event.currentTarget.classList.add('is-over'); };
    const out = (event) => event.currentTarget.classList.remove('is-over');
    const dropped = (event) => { event.preventDefault(); out(event);
      if (!this.busy) this.send(event.dataTransfer.files[0]); };
    return card('Or send a zip', note('With a folder per class, or one CSV with the columns image and label (and '
      + 'lesion, age, sex, site if there '
      + 'are any). Only the pixels are kept: names of people and places inside the files are dropped.'),
    h('div', {class: 'drop', on: {dragover: over, dragleave: out, drop: dropped}}, this.file,
      h('label', {class: 'button', for: 'zip'}, 'Choose a zip'),
        h('p', {}, this.limit ? `or drop it here; at most ${bytes(this.limit)}` : 'or drop it here'),
        this.sent && h('p', {class: 'soft'},
        `${this.sent.name}, ${bytes(this.sent.bytes)}: arrived`)),
    this.sending && h('div', {class: 'sending'}, progress(this.share, 'Upload'),
      h('p', {}, `${percent(this.share)} of ${bytes(this.size)} sent `,
      button('Stop', () => this.sending.abort(), 'is-small'))),
    this.unsent && h('p', {class: 'alert is-alert', role: 'alert'}, this.unsent));
  }

  choose(entry) { Object.assign(this, {chosen: entry, sent: null, task: null, mapping: null, refused: ''});
    this.paint(); }

  async send(file) {
    if (!file) return;
    Object.assign(this, {unsent: '', sent: null, chosen: null, task: null, mapping: null, refused: '', share: 0,
      size: file.size});
    for (const radio of this.root.querySelectorAll('[name=folder]')) radio.checked = false;
    if (!/\.zip$/i.test(file.name)) this.unsent = `${file.name} is no zip.`;
    else if (this.limit && file.size > this.limit) this.unsent = `${file.name} has ${bytes(file.size)}; at most `
      + `${bytes(this.limit)} are taken.`;
    if (this.unsent) { this.paint(); return; }
    try {
      await get('/session'); // rather now than after the whole file
      this.sending = upload(file, (sent, total) => { this.share = total ? sent / total : 0; this.paint(); });
      this.paint();
      this.sent = await this.sending.done;
      if (this.sent && !this.name.value) this.name.value = file.name.replace(/\.zip$/i, '');
    } catch (error) {
      this.unsent = error instanceof Away ? 'The connection was lost before the whole file had arrived. Send it '
        + 'again.' : error.message;
    }
    this.sending = null; this.file.value = '';
    if (!this.gone) this.paint();
  }

  what() {
    if (this.chosen) return h('p', {'data-key': 'what'}, 'Chosen: ', h('b', {}, this.chosen.path));
    if (this.sent) return h('p', {'data-key': 'what'}, 'Chosen: ', h('b', {}, this.sent.name),
      ', sent from this computer');
    return h('p', {class: 'note', 'data-key': 'what'}, 'Choose a folder or send a zip above.');
  }

  async register() {
    if (this.busy) return;
    const from = this.chosen ? {path: this.chosen.path} : {upload: this.sent.upload};
    this.refused = ''; this.task = {state: 'running', what: 'Asking the server', seconds: 0}; this.paint();
    try {
      const {task} = await post('/data/register',
        {...from, name: this.name.value.trim(), mapping: this.mapping?.values() ?? {},
        split_seed: Number(this.seed.value), names_only: this.only.checked});
      await this.follow(task);
    } catch (error) { this.task = null; this.refused = error.message; }
    if (!this.gone) this.paint();
  }

  async follow(task) {
    for (;;) {
      try { this.task = await poll(`/tasks/${id(task)}`);
        } catch (error) { if (!(error instanceof Away)) throw error; }
      if (this.gone) return;
      if (this.task.state !== 'running') break;
      this.paint();
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
    if (this.task.state === 'done') {
      this.app.say('The data are registered.');
      this.app.go(`/data/${id(this.task.result.id)}`);
      return;
    }
    this.refused = this.task.error ?? 'The check failed and gave no reason.';
    if (this.task.unknown_labels?.length) this.mapping = new Mapping(this.task.unknown_labels, this.task.classes,
      this.mapping);
    renew().catch(() => {}); // a long check is no idleness
  }

  progress() {
    const said = h('div', {role: 'status', 'data-key': 'progress'});
    if (this.task?.state === 'running') fill(said,
      h('p', {}, `${this.task.what || 'Checking'} … (${duration(this.task.seconds)})`),
      progress(null, 'Check'), note('Every picture is opened once; thousands take minutes. Stay on this page, or '
        + 'come back to Data later: the check goes on.'));
    else if (this.refused) fill(said, h('div', {class: 'alert is-alert', role: 'alert'},
      h('b', {}, 'Not registered. '), this.refused));
    return said;
  }
}
