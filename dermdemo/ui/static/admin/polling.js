// Look again every few seconds while the page can be seen; ever less often while the server is away.

import {Away} from './api.js';

const EVERY = 2500, SLOWEST = 30_000; // ms

export class Polling {
  // work(background) looks once; told({away, next}) hears how it went, next in ms.
  constructor(work, told) {
    Object.assign(this, {work, told, misses: 0, timer: null, running: false, asked: false});
    document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(this.timer) : this.now()));
    window.addEventListener('online', () => this.now());
  }

  // Look at once, as the person asked for it (background false) or not.
  async now(background = true) {
    clearTimeout(this.timer);
    if (this.running) { this.asked = {background}; return; }
    this.running = true;
    try {
      await this.work(background);
      this.misses = 0;
      this.told({away: false});
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      this.misses += 1;
      this.told({away: true, next: this.wait()});
    } finally {
      this.running = false;
      this.plan();
    }
  }

  wait() { return Math.min(SLOWEST, EVERY * 2 ** Math.max(0, this.misses - 1)); }

  plan() {
    const {asked} = this;
    this.asked = false;
    clearTimeout(this.timer);
    if (asked) this.now(asked.background);
    else if (!document.hidden) this.timer = setTimeout(() => this.now(), this.wait());
  }
}
