// What every page of the workspace has: data fetched anew now and then, and a picture of them that is changed in
// place.

import {Away} from './api.js';
import {fill, h} from './dom.js';

export class View {
  // app: {go(hash), say(text), look()}, see app.js. params: the parts of the address.
  constructor(app, params = {}) {
    Object.assign(this, {app, params, problem: null, ready: false});
    this.root = h('div', {class: 'view'});
  }

  get title() { return ''; }

  async load() {} // fetch; `background` is true when nobody asked for it

  render() { return []; }

  leave() {} // the person went elsewhere

  async refresh(background) {
    try {
      await this.load(background);
      this.ready = true; this.problem = null;
    } catch (error) {
      if (error instanceof Away) throw error;
      this.problem = error.message;
      if (!('status' in error)) console.error(error);
    }
    if (!this.gone) this.paint();
  }

  paint() {
    const failed = this.problem && h('p', {class: 'alert is-alert', role: 'alert', 'data-key': 'problem'},
      this.problem);
    const body = this.ready ? this.render()
      : [!this.problem && h('p', {class: 'note', 'data-key': 'wait'}, 'Loading …')];
    fill(this.root, this.head(), failed, body);
  }

  head() {
    return h('header', {class: 'view-head', 'data-key': 'head'}, h('h1', {tabindex: '-1'}, this.title));
  }
}
