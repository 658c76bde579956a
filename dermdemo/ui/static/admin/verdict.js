// The verdict on a candidate in plain words, put together from the lines of its comparison.

import {card, chip, h, note} from './dom.js';
import {plural} from './format.js';
import {ARMS, OUTCOMES, className, metric, named} from './words.js';

const WORDS = {better: 'Better', worse: 'Worse', 'not distinguishable': 'No clear difference',
  'not comparable': 'Cannot be compared'};

const listed = (names) => (names.length < 2 ? names.join('')
  : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`);
const overall = (arm) => arm.lines.filter((line) => line.scope === 'all');
const parts = (arm) => arm.lines.filter((line) => line.scope !== 'all');
const having = (lines, outcome) => lines.filter((line) => line.outcome === outcome);
// On classes and subgroups: whether a line still counts once all of them are corrected together.
export const chance = (line) => line.scope !== 'all' && line.stands === false
  && ['better', 'worse'].includes(line.outcome);

// "sensitivity for melanoma", "accuracy for sex: female"
export function lineName(line) {
  const scope = line.scope.startsWith('class: ') ? className(line.scope.slice(7)) : line.scope;
  return line.scope === 'all' ? metric(line.metric) : `${scope} (${metric(line.metric)})`;
}

export function verdict(gate) {
  return card('In plain words', h('p', {class: 'headline'}, headline(gate), ' ',
    worseParts(gate).length > 0 && 'It is worse in single classes or subgroups, named below.'), gate.arms.map(arm),
    note('“Better” and “worse” are said only where the 95 % interval of the difference leaves zero out. With this '
      + 'many '
      + 'lines some do so by chance: the figures on all images are the ones to act on.'),
    h('details', {class: 'full', 'data-key': 'full'}, h('summary', {}, 'The verdict with all its figures'),
      gate.arms.map((a) => h('p', {}, h('b', {}, `${named(ARMS, a.arm)}. `), a.verdict))));
}

const worseParts = (gate) => gate.arms.flatMap((found) => having(parts(found), 'worse'))
  .filter((line) => !chance(line));

// "VAE arm: Melanoma (sensitivity)" for each line that is worse.
export const worse = (gate) => gate.arms.flatMap((found) => having(found.lines, 'worse')
  .filter((line) => !chance(line)).map((line) => `${named(ARMS, found.arm)}: ${lineName(line)}`));

function headline(gate) {
  const all = gate.arms.flatMap(overall), [better, poorer, same] = ['better', 'worse', 'not distinguishable']
    .map((outcome) => having(all, outcome).length);
  if (better && poorer) return 'On all images the candidate is better in some figures and worse in others.';
  if (poorer) return 'On all images the candidate is worse.';
  if (better) return 'On all images the candidate is better, and worse in no figure that can be compared.';
  return same ? 'On all images the candidate cannot be told apart from the live version.'
    : 'The candidate cannot be compared: there are too few lesions.';
}

function arm(found) {
  const all = overall(found), rest = parts(found), unknown = having(rest, 'not comparable').length;
  const chips = Object.keys(WORDS).map((outcome) => [outcome, having(all, outcome)])
    .filter(([, lines]) => lines.length);
  const moved = (outcome) => having(rest, outcome).filter((line) => !chance(line));
  const told = (outcome) => moved(outcome).length > 0
    && h('p', {}, h('b', {}, `${WORDS[outcome]} in classes and subgroups: `),
    listed(moved(outcome).map(lineName)), '.');
  const maybe = rest.filter(chance);
  return h('div', {class: 'verdict', 'data-key': found.arm},
    h('h3', {}, `${named(ARMS, found.arm)}, on ${plural(found.n_images, 'image')} of `
      + `${plural(found.n_lesions, 'lesion')}`),
    h('p', {class: 'chips'}, chips.map(([outcome, lines]) => chip(`${WORDS[outcome]}: ${listed(lines.map(lineName))}`,
      OUTCOMES[outcome]))),
    told('worse'), told('better'),
    maybe.length > 0 && h('p', {class: 'soft'},
      `With so many lines compared, these may be chance: ${listed(maybe.map((line) =>
      `${lineName(line)}, ${line.outcome}`))}.`),
    rest.length > unknown && !having(rest, 'better').length && !having(rest, 'worse').length
      && h('p', {}, 'No class or subgroup that can be compared differs by more than chance allows.'),
    unknown > 0 && h('p', {class: 'soft'}, `${unknown} of ${rest.length} lines on classes and subgroups cannot be `
      + `compared: too few lesions.`));
}
