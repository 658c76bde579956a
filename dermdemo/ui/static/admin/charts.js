// The charts of one training run, drawn by plotly and changed in place: `Plotly.react` with one `uirevision` per run
// keeps
// the person's zoom and hidden lines while points come in; the epochs that are planned fix the axis, so nothing
// jumps.

import {CURVES} from './curves.js';
import {h} from './dom.js';

const SCRIPT = '/dermdemo/plotly.min.js', HIGH = 236; // px
const CONFIG = {displayModeBar: false, responsive: true, scrollZoom: false, showTips: false};
let plotly = null;

function loadPlotly() {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = SCRIPT;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { plotly = null; reject(new Error('plotly.min.js')); };
    document.head.append(script);
  });
  return plotly;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Charts {
  constructor(run) {
    this.places = CURVES[run.stage].map((curve) =>
      ({curve, plot: h('div', {class: 'plot', style: `height: ${HIGH}px`}), drawn: ''}));
    this.queue = Promise.resolve();
    this.said = h('p', {class: 'note'});
    this.root = h('div', {class: 'charts', 'data-own': true, 'data-run': run.name}, this.said,
      this.places.map(({curve, plot}) =>
      h('figure', {class: 'chart', 'data-chart': curve.key},
        h('figcaption', {}, curve.title, h('small', {}, curve.help)), plot)));
    this.scheme = matchMedia('(prefers-color-scheme: dark)');
    this.recolour = () => { for (const place of this.places) place.drawn = ''; if (this.run) this.update(this.run); };
    this.scheme.addEventListener('change', this.recolour);
  }

  // Show a run as it is now, once what is being drawn is done. Draws only what changed, and nothing while it is
  // hidden.
  update(run) {
    this.run = run;
    this.queue = this.queue.then(() => this.draw())
      .catch((error) => console.error('A chart could not be drawn', error));
    return this.queue;
  }

  get seen() { return !this.gone && this.root.isConnected && !this.root.hidden; }

  async draw() {
    if (!this.seen) return;
    let Plotly;
    try { Plotly = await loadPlotly(); } catch {
      this.said.textContent = 'The charts cannot be drawn: plotly.min.js did not arrive. The log below has the '
        + 'figures.';
      return;
    }
    const any = Object.values(this.run.series).some((points) => points.length > 0);
    this.said.textContent = any ? '' : 'Curves begin with the first figures.';
    for (const place of this.places) {
      if (!this.seen) return;
      const {run} = this, {curve, plot} = place;
      const data = curve.dims ? run.kl_per_dim : curve.series.map(([name]) => run.series[name] ?? []);
      const now = JSON.stringify([run.epochs, data]);
      if (now === place.drawn) continue;
      await Plotly.react(plot, ...(curve.dims ? dims(run, curve) : curves(run, curve)), CONFIG);
      place.drawn = now;
    }
  }

  // It may have been hidden, or the window have another width, since it was drawn.
  async shown(run) {
    await this.update(run);
    if (!this.seen) return;
    for (const {plot} of this.places)
      if (plot.data && Math.abs(plot.clientWidth - plot._fullLayout.width) > 1) window.Plotly.Plots.resize(plot);
  }

  leave() {
    this.gone = true;
    this.scheme.removeEventListener('change', this.recolour);
    this.queue.then(() => { for (const {plot} of this.places) if (plot.data) window.Plotly.purge(plot); });
  }
}

const nothing = (traces) => traces.every(({x}) => x.length === 0);

function layout(run, curve, x, more = {}) {
  const axis = {gridcolor: css('line'), linecolor: css('line'), zerolinecolor: css('line'), tickcolor: css('line'),
    automargin: false, ticks: 'outside', ticklen: 3};
  const title = (text) => ({text, font: {size: 11.5}, standoff: 6});
  return {
    uirevision: run.name, separators: '.', height: HIGH, margin: {l: 76, r: 10, t: more.legend ? 26 : 12, b: 40},
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: {family: 'system-ui, sans-serif', size: 11.5, color: css('soft')}, hovermode: 'x unified', dragmode: 'zoom',
    hoverlabel: {bgcolor: css('card'), bordercolor: css('line'), font: {color: css('ink'), size: 12}},
    legend: {orientation: 'h', x: 0, y: 1.02, yanchor: 'bottom', font: {size: 11.5, color: css('ink')}},
    xaxis: {...axis, title: title(x), ...more.xaxis},
    yaxis: {...axis, title: title(curve.unit), exponentformat: 'none',
      rangemode: curve.zero ? 'tozero' : 'normal', showticklabels: !more.empty, ticks: more.empty ? '' : 'outside'},
    showlegend: more.legend, shapes: curve.line === undefined ? []
      : [{type: 'line', xref: 'paper', x0: 0, x1: 1, y0: curve.line, y1: curve.line,
      line: {color: css('soft'), width: 1, dash: 'dot'}}],
  };
}

function curves(run, curve) {
  const traces = curve.series.map(([name, label, tone, dash]) => {
    const points = run.series[name] ?? [];
    return {type: 'scatter', mode: points.length > 40 ? 'lines' : 'lines+markers', uid: name.replace('.', '-'),
      name: label, x: points.map(([epoch]) => epoch), y: points.map(([, value]) => value),
      line: {color: css(tone), width: 2, dash: dash ?? 'solid'}, marker: {size: 4.5, color: css(tone)},
        hovertemplate: '%{y:.4~g}'};
  });
  const end = Math.max(1, run.epochs || 0, run.epoch || 0);
  return [traces, layout(run, curve, 'Epoch', {legend: traces.length > 1, empty: nothing(traces),
    xaxis: {range: [-0.02 * end, 1.02 * end]}})];
}

// Dimensions sorted by their KL, largest first; first, middle and last epoch are shown at once, others on a click.
function dims(run, curve) {
  const found = run.kl_per_dim, last = found.length - 1;
  const open = new Set([0, Math.floor(last / 2), last]);
  const traces = found.map(([epoch, values], k) => {
    const sorted = [...values].sort((a, b) => b - a), share = last > 0 ? k / last : 1;
    return {type: 'scatter', mode: 'lines', uid: `epoch-${epoch}`, name: `epoch ${epoch}`,
      x: sorted.map((_, rank) => rank + 1), y: sorted,
      visible: open.has(k) ? true : 'legendonly', line: {color: k === last ? css('val') : css('train'),
        width: k === last ? 2.4 : 1.6},
      opacity: k === last ? 1 : 0.35 + 0.5 * share, fill: k === last ? 'tozeroy' : 'none',
        fillcolor: css('val-soft'), hovertemplate: '%{y:.3~g}'};
  });
  return [traces, layout(run, {...curve, zero: true}, 'Dimension, by rank', {legend: true, empty: nothing(traces)})];
}
