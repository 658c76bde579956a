// The lines of a comparison: figures of both versions, their difference, and its 95 % interval as a dot with
// whiskers.

import {card, chip, h, note} from './dom.js';
import {count, fixed, plural, signed} from './format.js';
import {chance} from './verdict.js';
import {ARMS, OUTCOMES, className, metric, named} from './words.js';

const COLUMNS = ['', 'is-count', 'is-figure', 'is-figure', 'is-span', 'is-drawn', 'is-said'];
const WIDE = 176, HIGH = 22, EDGE = 6; // px of the drawing

export function comparison(arm) {
  const all = arm.lines.filter((line) => line.scope === 'all');
  const classes = arm.lines.filter((line) => line.scope.startsWith('class: '));
  const rest = arm.lines.filter((line) => !all.includes(line) && !classes.includes(line));
  const end = reach(arm.lines);
  return card(`${named(ARMS, arm.arm)}: candidate against live`,
    lines('On all images', all, end, (line) => metric(line.metric)),
    classes.length > 0 && lines('Per class: sensitivity', classes, end, (line) => className(line.scope.slice(7))),
    rest.length > 0 && h('details', {class: 'fold', 'data-key': 'rest'},
      h('summary', {}, `Per subgroup (age, sex, site): ${plural(rest.length, 'line')}`),
      lines('', rest, end, (line) => `${line.scope}, ${metric(line.metric)}`)),
    note('Difference: candidate minus live, with its 95 % interval (drawn over lesions). Right of the line the '
      + 'candidate is better.'));
}

// The largest difference or end of an interval, for one scale in all drawings of an arm.
function reach(found) {
  const ends = found.flatMap((line) => [line.difference, line.low, line.high])
    .filter((v) => v !== null && Number.isFinite(v)).map(Math.abs);
  return Math.max(0.01, ...ends);
}

function lines(title, found, end, name) {
  const ticks = h('span', {class: 'scale'}, h('i', {}, signed(-end, 2)), h('i', {}, '0'), h('i', {}, signed(end, 2)));
  return [title && h('h3', {}, title), h('div',
    {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': title || 'Per subgroup'},
    h('table', {class: 'table is-lines'}, COLUMNS.map((css) => h('col', {class: css})),
      h('thead', {}, h('tr', {}, h('th', {scope: 'col'}, ''), h('th', {scope: 'col', class: 'number'}, 'Lesions'),
      h('th', {scope: 'col', class: 'number'}, 'Candidate'), h('th', {scope: 'col', class: 'number'}, 'Live'),
        h('th', {scope: 'col', class: 'number'}, 'Difference'),
      h('th', {scope: 'col', class: 'drawn'}, ticks), h('th', {scope: 'col'}, 'Verdict'))),
    h('tbody', {}, found.map((line) => row(line, end, name(line))))))];
}

const tone = (line) => (chance(line) ? 'plain' : OUTCOMES[line.outcome] ?? 'plain');

function row(line, end, label) {
  const span = line.low === null ? null : `${signed(line.low)} to ${signed(line.high)}`;
  return h('tr', {'data-key': `${line.scope} ${line.metric}`}, h('th', {scope: 'row'}, label),
    h('td', {class: 'number'}, count(line.n_lesions)),
    h('td', {class: 'number'}, fixed(line.candidate)), h('td', {class: 'number'}, fixed(line.live)),
    h('td', {class: 'number'}, signed(line.difference), span && h('small', {}, span)),
      h('td', {class: 'drawn'}, whisker(line, end)),
    h('td', {}, chip(line.outcome, tone(line)),
      chance(line) && h('small', {}, 'may be chance: many lines are compared'),
      line.why && h('small', {}, line.why)));
}

function whisker(line, end) {
  const x = (value) => EDGE + (value / end + 1) / 2 * (WIDE - 2 * EDGE), y = HIGH / 2;
  const drawn = [h('line', {class: 'zero', x1: x(0), x2: x(0), y1: 0, y2: HIGH})];
  if (line.low !== null) drawn.push(h('line', {class: 'whisker', x1: x(line.low), x2: x(line.high), y1: y, y2: y}));
  if (line.difference !== null) drawn.push(h('circle', {class: line.low === null ? 'dot is-open' : 'dot',
    cx: x(line.difference), cy: y, r: 4}));
  return h('svg', {class: `whiskers is-${tone(line)}`, viewBox: `0 0 ${WIDE} ${HIGH}`, width: WIDE, height: HIGH,
    'aria-hidden': 'true'}, drawn);
}
