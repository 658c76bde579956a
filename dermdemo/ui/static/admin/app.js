// The workspace: which page is shown (the part of the address after #), who is logged in, and the regular look at the
// server. Each page is a View; it stays until another address is opened.

import {hooks, logout, renew, session} from './api.js';
import {Audit} from './audit.js';
import {Data} from './data.js';
import {DataDetail} from './data_detail.js';
import {expired} from './dialogs.js';
import {button, fill} from './dom.js';
import {duration} from './format.js';
import {Job} from './job.js';
import {Jobs} from './jobs.js';
import {Launch} from './launch.js';
import {Overview} from './overview.js';
import {Polling} from './polling.js';
import {Register} from './register.js';
import {VersionPage} from './version.js';
import {Versions} from './versions.js';
import {View} from './view.js';

const WARN = 120; // seconds before the session ends for want of use
const ROUTES = [
  [/^\/(?:overview)?$/, Overview, 'overview'], [/^\/data$/, Data, 'data'], [/^\/data\/new$/, Register, 'data'],
  [/^\/data\/(?<id>[^/]+)$/, DataDetail, 'data'], [/^\/launch$/, Launch, 'launch'], [/^\/jobs$/, Jobs, 'jobs'],
  [/^\/jobs\/(?<id>[^/]+)$/, Job, 'jobs'], [/^\/versions$/, Versions, 'versions'],
  [/^\/versions\/(?<id>\d+)$/, VersionPage, 'versions'], [/^\/audit$/, Audit, 'audit'],
];

class Nowhere extends View {
  get title() { return 'There is no such page'; }
  render() { return ['Choose one of the pages above.']; }
}

const part = (name) => document.getElementById(name);
const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } };

class App {
  constructor() {
    this.main = part('main');
    this.polling = new Polling((background) => this.refresh(background), (how) => this.told(how));
    Object.assign(hooks, {expired, changed: () => this.named()});
    window.addEventListener('hashchange', () => this.open());
    setInterval(() => this.remaining(), 1000);
    part('logout').addEventListener('click', () => this.leave());
    part('skip').addEventListener('click', (event) => { event.preventDefault();
      this.main.querySelector('h1')?.focus(); });
  }

  async start() {
    sessionStorage.setItem('dermdemo-admin', 'in');
    // away: polling says so
    try { await renew(); } catch (error) { if (error.status === 401) return location.reload(); }
    this.open(false);
  }

  open(focus = true) {
    const [path, query = ''] = location.hash.replace(/^#/, '').split('?');
    const found = ROUTES.map(([pattern, view, tab]) => ({match: (path || '/').match(pattern), view, tab}))
      .find((r) => r.match);
    const groups = Object.entries(found?.match.groups ?? {}).map(([k, v]) => [k, decoded(v)]);
    if (this.view) { this.view.gone = true; this.view.leave(); }
    this.view = new (found?.view ?? Nowhere)(this,
      {...Object.fromEntries(groups), query: new URLSearchParams(query)});
    if (!found) this.view.ready = true;
    for (const a of document.querySelectorAll('#nav a')) {
      if (a.dataset.tab === found?.tab) a.setAttribute('aria-current', 'page');
      else a.removeAttribute('aria-current');
    }
    document.querySelector('#nav [aria-current]')?.scrollIntoView({block: 'nearest', inline: 'nearest'});
    document.title = `${this.view.title} · dermdemo administration`;
    this.view.paint();
    this.main.replaceChildren(this.view.root);
    window.scrollTo(0, 0);
    if (focus) this.main.querySelector('h1')?.focus({preventScroll: true});
    this.polling.now(false);
  }

  async refresh(background) {
    if (!session.who) await renew();
    await this.view?.refresh(background);
  }

  // For views
  // --------------------------------------------------------------------------------------------------------

  go(path) { location.hash = path; }

  look() { return this.polling.now(false); }

  say(text) { // a short word that something was done
    fill(part('said'), text);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => fill(part('said')), 6000);
  }

  // The head
  // ---------------------------------------------------------------------------------------------------------

  named() { fill(part('who'), 'Logged in as ',
    Object.assign(document.createElement('b'), {textContent: session.who})); }

  told({away, next}) {
    const banner = part('away');
    banner.hidden = !away;
    if (away) fill(banner, `Connection lost; jobs go on. Looking again every ${duration(next / 1000)}. `,
      button('Look now', () => this.polling.now(), 'is-small'));
  }

  remaining() {
    const banner = part('idle');
    if (session.idle === null) return;
    const now = performance.now(), left = Math.ceil((Math.min(session.idle, session.end) - now) / 1000);
    banner.hidden = left > WARN || left <= 0;
    if (banner.hidden) return;
    fill(banner, session.end <= session.idle ? `Your session ends in ${duration(left)}; you can log in again then. `
      : `You will be logged out in ${duration(left)}, as nothing was done for a while. `,
    session.end > session.idle && button('Stay logged in', () => renew().catch(() => this.look()), 'is-small'));
  }

  async leave() {
    try { await logout(); } catch (error) {
      if (error.status !== 401) { this.say(`You are still logged in: ${error.message}`); return; }
    }
    sessionStorage.setItem('dermdemo-admin', 'out');
    location.href = '/administration';
  }
}

new App().start();
