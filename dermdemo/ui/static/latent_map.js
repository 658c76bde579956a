// The map of known lesions. Plotly draws the points and its lasso; picking, the card, the keyboard, touch, the legend
// and the visitor's own image are ours. Unusual here: the view (centre and map units per pixel) is the one truth, the
// axes follow it, so that both axes keep one scale and points stand where they stood on the last visit.

import {listen} from './latent_hands.js';

const DWELL = 125; // ms from ring to card
let plotly = null;

function loadPlotly(assets) {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = `${assets}/plotly.min.js`;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { plotly = null; reject(new Error('plotly.min.js')); };
    document.head.append(script);
  });
  return plotly;
}

function make(tag, css, text) {
  const node = document.createElement(tag);
  if (css) node.className = css;
  if (text !== undefined) node.textContent = text;
  return node;
}

const filled = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);
const webgl = () => Boolean(document.createElement('canvas').getContext('webgl'));

export function start({element, props, watch, trigger}) {
  const map = new LatentMap(element, trigger);
  map.tell(props.value);
  watch('value', () => map.tell(props.value));
}

class LatentMap {
  constructor(element, trigger) {
    this.root = element.querySelector('.dd-map');
    this.words = JSON.parse(this.root.dataset.words);
    this.trigger = trigger;
    for (const node of this.root.querySelectorAll('[data-map]')) this[node.dataset.map] = node;
    this.told = {}; this.hidden = new Map(); this.selected = null; this.mode = 'pan';
    this.hover = this.cursor = this.focus = -1;
    this.busy = false; // fingers are on the map
    this.ring = this.over.appendChild(make('i', 'dd-map-ring'));
    this.held = this.over.appendChild(make('i', 'dd-map-ring is-held'));
    this.near = [];
    this.mark = this.over.appendChild(make('i', 'dd-map-mine'));
    this.mark.append(make('b', '', this.words.yours));
    listen(this);
    new ResizeObserver(() => this.resized()).observe(this.stage);
    new MutationObserver(() => this.data && this.draw())
      .observe(document.body, {attributes: true, attributeFilter: ['class']}); // light and dark
  }

  // What Python tells: the key of the points, and where the visitor's image is.
  tell(value) {
    try { this.told = JSON.parse(value || '{}'); } catch { this.told = {}; }
    this.load();
  }

  async load() {
    const {key, n} = this.told;
    if (!key) { if (key === '') this.note.textContent = this.words.none; return; }
    if (!this.stage.clientWidth || this.loaded === key) return this.place();
    this.loaded = key;
    this.note.textContent = filled(this.words.loading, {n: n.toLocaleString('en')});
    try {
      const {assets} = this.words;
      const [Plotly, answer] = await Promise.all([loadPlotly(assets), fetch(`${assets}/map/${key}.json`)]);
      if (!answer.ok) throw new Error(`map: ${answer.status}`);
      this.Plotly = Plotly; this.data = await answer.json();
      this.stage.setAttribute('aria-label', filled(this.words.label, {n: n.toLocaleString('en')}));
      this.kind = webgl() ? 'scattergl' : 'scatter';
      this.hidden.clear(); this.selected = null; this.focus = this.cursor = -1; this.view = this.home();
      this.menu();
      await this.colour(this.column?.name);
      this.note.textContent = '';
      this.root.dataset.painted = key;
    } catch (error) {
      this.loaded = null; this.note.textContent = this.words.failed;
      console.warn('The map could not be drawn', error);
    }
  }

  // Drawing -----------------------------------------------------------------------------------------------------

  css(name) { return getComputedStyle(this.root).getPropertyValue(`--dd-map-${name}`).trim() || '#888'; }

  menu() {
    const groups = new Map();
    for (const column of this.data.columns) {
      const {group, title, name} = column;
      if (!groups.has(group)) groups.set(group, Object.assign(make('optgroup'), {label: group}));
      groups.get(group).append(Object.assign(make('option', '', title), {value: name}));
    }
    this.by.replaceChildren(...groups.values());
  }

  colour(name) {
    this.column = this.data.columns.find((column) => column.name === name) ?? this.data.columns[0];
    this.by.value = this.column.name;
    if (!this.hidden.has(this.column.name)) this.hidden.set(this.column.name, new Set());
    this.rows = this.column.categories.map(() => []);
    this.column.codes.forEach((code, row) => this.rows[code].push(row));
    this.order = [...this.rows.keys()].sort((a, b) => this.rows[b].length - this.rows[a].length); // rare ones on top
    this.drawLegend();
    return this.draw();
  }

  get off() { return this.hidden.get(this.column.name); }

  drawLegend() {
    const ordered = this.column.categories.map((category, code) => {
      const button = make('button'), swatch = make('i', `is-${category.mark}`);
      swatch.style.setProperty('--dd-fill', `var(--dd-map-${category.tone})`);
      button.type = 'button'; button.dataset.code = code;
      button.setAttribute('aria-pressed', String(!this.off.has(code)));
      button.append(swatch, category.label, make('span', '', this.rows[code].length.toLocaleString('en')));
      return button;
    });
    this.legend.replaceChildren(...ordered);
    this.key.textContent = this.column.malignant ? this.words.malignantKey : '';
  }

  trace(code) {
    const {x, y} = this.data, rows = this.rows[code], category = this.column.categories[code];
    return {
      type: this.kind, mode: 'markers', hoverinfo: 'skip', visible: !this.off.has(code),
      x: rows.map((row) => x[row]), y: rows.map((row) => y[row]),
      marker: {color: this.css(category.tone), size: this.size() + (category.mark === 'circle' ? 0 : 1.5),
               symbol: category.mark, opacity: 0.86, line: {width: 0}},
      selectedpoints: this.selected ? [...rows.keys()].filter((k) => this.selected.has(rows[k])) : undefined,
      selected: {marker: {opacity: 1}}, unselected: {marker: {opacity: 0.1}},
    };
  }

  size() { // px of a point: it grows a little with the zoom
    const small = this.stage.clientWidth < 500 ? 0.8 : 1;
    return Math.min(11, small * 4.6 * (this.home().scale / this.view.scale) ** 0.35);
  }

  async draw() {
    const ink = this.css('ink');
    const axis = {visible: false, autorange: false, fixedrange: false};
    const layout = {
      margin: {l: 0, r: 0, t: 0, b: 0}, showlegend: false, hovermode: false, dragmode: this.mode, selections: [],
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', width: this.stage.clientWidth,
      height: this.stage.clientHeight,
      xaxis: {...axis, range: this.range('x')}, yaxis: {...axis, range: this.range('y')},
      newselection: {line: {color: ink, width: 1.5, dash: 'solid'}}, activeselection: {fillcolor: ink, opacity: 0.06},
    };
    const config = {displayModeBar: false, scrollZoom: true, doubleClick: false, showAxisDragHandles: false,
                    showTips: false};
    this.drawnSize = this.size();
    this.drawing = true; // an outline that goes is no choice of the visitor's
    await this.Plotly.react(this.plot, this.order.map((code) => this.trace(code)), layout, config);
    this.drawing = false;
    if (!this.bound) this.bindPlot();
    this.step('clear').hidden = !this.selected;
    for (const button of this.root.querySelectorAll('[data-mode]'))
      button.setAttribute('aria-pressed', String(button.dataset.mode === this.mode));
    this.place();
  }

  bindPlot() {
    this.bound = true;
    this.plot.on('plotly_selected', (event) => this.lassoed(event));
    this.plot.on('plotly_relayouting', (event) => this.follow(event));
    this.plot.on('plotly_relayout', (event) => this.follow(event));
  }

  // The view ----------------------------------------------------------------------------------------------------

  home() {
    const ends = (values) => [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    const {x, y} = this.data;
    if (this.bounds?.key !== this.loaded) this.bounds = {key: this.loaded, x: ends(x), y: ends(y)};
    const [x0, x1] = this.bounds.x, [y0, y1] = this.bounds.y, pad = 1.08;
    const scale = Math.max((x1 - x0) * pad / this.stage.clientWidth, (y1 - y0) * pad / this.stage.clientHeight) || 1;
    return {x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale};
  }

  range(axis) {
    const half = this.view.scale * (axis === 'x' ? this.stage.clientWidth : this.stage.clientHeight) / 2;
    return [this.view[axis] - half, this.view[axis] + half];
  }

  at(x, y) { // map units -> px
    const {clientWidth: w, clientHeight: h} = this.stage;
    return [w / 2 + (x - this.view.x) / this.view.scale, h / 2 - (y - this.view.y) / this.view.scale];
  }

  follow(event) { // Plotly moved or zoomed
    const read = (axis) => event[`${axis}.range`] ?? [event[`${axis}.range[0]`], event[`${axis}.range[1]`]];
    const [x0, x1] = read('xaxis'), [y0, y1] = read('yaxis');
    if (this.moving || [x0, x1, y0, y1].some((v) => typeof v !== 'number')) return;
    this.view = {x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale: (x1 - x0) / this.stage.clientWidth};
    this.hideCard(); this.place(); this.grow();
  }

  look(view) { // we move or zoom
    const home = this.home(), clamp = (v, [low, high]) => Math.min(high, Math.max(low, v));
    const scale = clamp(view.scale, [home.scale / 60, home.scale * 2]);
    this.view = {x: clamp(view.x, this.bounds.x), y: clamp(view.y, this.bounds.y), scale};
    this.hideCard(); this.place();
    this.frame ??= requestAnimationFrame(async () => {
      this.frame = null; this.moving = true;
      await this.Plotly.relayout(this.plot, {'xaxis.range': this.range('x'), 'yaxis.range': this.range('y')});
      this.moving = false; this.grow();
    });
  }

  zoom(factor, px = this.stage.clientWidth / 2, py = this.stage.clientHeight / 2) {
    const {x, y, scale} = this.view, next = scale / factor;
    const dx = px - this.stage.clientWidth / 2, dy = this.stage.clientHeight / 2 - py;
    this.look({x: x + dx * (scale - next), y: y + dy * (scale - next), scale: next});
  }

  grow() { // points grow a little with the zoom, once it rests
    clearTimeout(this.growing);
    this.growing = setTimeout(() => {
      if (Math.abs(this.size() - this.drawnSize) > 0.4 && !this.busy) this.draw();
    }, 180);
  }

  resized() {
    if (!this.data || !this.view) return void this.load();
    if (!this.stage.clientWidth) return;
    clearTimeout(this.fitting);
    const whole = Math.abs(this.view.scale / (this.wasHome ?? this.view.scale) - 1) < 1e-3;
    this.fitting = setTimeout(() => {
      if (whole) this.view = this.home();
      this.wasHome = this.home().scale;
      this.draw();
    }, 60);
  }

  // Choosing ----------------------------------------------------------------------------------------------------

  shown(row) { return !this.off.has(this.column.codes[row]); }

  pick(px, py, radius) {
    const {x, y} = this.data, {clientWidth: w, clientHeight: h} = this.stage;
    const mx = this.view.x + (px - w / 2) * this.view.scale, my = this.view.y - (py - h / 2) * this.view.scale;
    let best = -1, least = (radius * this.view.scale) ** 2;
    for (let row = 0; row < x.length; row++) {
      const distance = (x[row] - mx) ** 2 + (y[row] - my) ** 2;
      if (distance < least && this.shown(row)) { best = row; least = distance; }
    }
    return best;
  }

  lassoed(event) {
    if (!event?.points || this.drawing) return;
    const ids = event.points.map((point) => this.rows[this.order[point.curveNumber]][point.pointNumber]);
    if (ids.length && !this.pinched) this.select(new Set(ids));
    else this.draw();
  }

  select(rows) {
    this.selected = rows; this.focus = -1;
    this.draw();
    this.trigger('select', {key: this.told.key, ids: rows ? [...rows] : []});
  }

  open(row) {
    this.focus = row; this.place();
    this.trigger('select', {key: this.told.key, row});
  }

  point(row) { // ring at once, card after a moment
    if (row === this.hover) return;
    this.hideCard(); this.hover = row; this.place();
    if (row >= 0) this.waiting = setTimeout(() => this.showCard(row), DWELL);
  }

  hideCard() { clearTimeout(this.waiting); this.card.hidden = true; this.hover = -1; }

  about(row) {
    const value = (name) => {
      const column = this.data.columns.find((c) => c.name === name);
      return column && (column.shown?.[row] ?? column.categories[column.codes[row]].label);
    };
    const arms = this.data.columns.filter((c) => c.name.endsWith('_top')).map((c) => {
      const arm = c.name.slice(0, -4), outcome = this.data.columns.find((o) => o.name === `${arm}_outcome`);
      return {name: c.group, said: value(c.name), share: value(`${arm}_confidence`),
              tone: outcome?.categories[outcome.codes[row]].tone};
    });
    const lesion = ['age', 'sex', 'localization', 'site'].map(value).filter((v) => v).join(' · ');
    return {id: this.data.ids[row], label: value('label') ?? '', lesion, split: value('split'), arms};
  }

  showCard(row) {
    const about = this.about(row), {source, missing} = this.data.real, text = make('div'), picture = make('img');
    picture.src = `${this.words.assets}/lesion/${this.loaded}/${row}.png`;
    Object.assign(picture, {alt: '', width: 84, height: 84});
    text.append(make('b', '', about.label), make('small', '', `${about.id} · ${about.split}`),
                make('small', '', about.lesion));
    for (const arm of about.arms) {
      const line = make('span', `is-${arm.tone}`, `${arm.name}: ${arm.said} ${arm.share}`);
      line.prepend(make('i', '', arm.tone === 'right' ? '✓' : arm.tone === 'wrong' ? '✕' : '·'));
      text.append(line);
    }
    const real = source && !missing.includes(row);
    const made = make('em', '', real ? filled(this.words.real, {source}) : this.words.made);
    this.card.replaceChildren(picture, text, made);
    this.card.hidden = false;
    this.card.dataset.row = row;
    this.putCard(row);
  }

  putCard(row) { // beside the point where there is room, else above or below it
    const [px, py] = this.at(this.data.x[row], this.data.y[row]), {offsetWidth: w, offsetHeight: h} = this.card;
    const {clientWidth: width, clientHeight: height} = this.stage, gap = 18;
    const beside = px + gap + w <= width - 6 ? px + gap : px - gap - w >= 6 ? px - gap - w : null;
    const left = beside ?? Math.max(6, Math.min(px - w / 2, width - w - 6));
    const top = beside !== null ? py - h / 2 : py - gap - h >= 6 ? py - gap - h : py + gap;
    this.card.style.left = `${left}px`;
    this.card.style.top = `${Math.max(6, Math.min(top, height - h - 6))}px`;
  }

  // What lies over the points: rings, the visitor's image, its neighbours' numbers.
  place() {
    if (!this.data || !this.view) return;
    const {clientWidth: w, clientHeight: h} = this.stage;
    const put = (node, x, y, there) => {
      const [px, py] = there ? this.at(x, y) : [0, 0];
      node.hidden = !there || px < -20 || py < -20 || px > w + 20 || py > h + 20;
      node.style.transform = `translate(${px.toFixed(1)}px, ${py.toFixed(1)}px)`;
    };
    const {x, y} = this.data, ringed = this.hover >= 0 ? this.hover : this.cursor;
    const mine = typeof this.told.x === 'number', rows = (mine && this.told.near) || [];
    put(this.ring, x[ringed], y[ringed], ringed >= 0);
    put(this.held, x[this.focus], y[this.focus], this.focus >= 0);
    put(this.mark, this.told.x, this.told.y, mine);
    while (this.near.length > rows.length) this.near.pop().remove();
    while (this.near.length < rows.length) {
      const number = make('i', 'dd-map-near', this.near.length + 1);
      this.near.push(this.over.insertBefore(number, this.mark));
    }
    rows.forEach((row, k) => put(this.near[k], x[row], y[row], true));
    this.step('find').hidden = !mine;
  }

  step(name) { return this.root.querySelector(`[data-step="${name}"]`); }
}
