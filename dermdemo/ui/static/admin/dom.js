// Elements, and how a part of the page is brought up to date without being thrown away: `morph` changes the old nodes
// into the new ones, so that focus, scrolling, open folds and half-typed text stay. Text goes in as text, never as
// HTML.
// A node that is on the page already may be given as a child again: it then stays where it is, untouched.

const SVG = 'http://www.w3.org/2000/svg';
const SVG_TAGS = new Set(['svg', 'g', 'line', 'circle', 'rect', 'text', 'path', 'title']);
const KEPT = new Set(['open']); // what the person set, not the page

// h('button', {class: 'x', on: {click}}, 'text', node, [nodes]); null, false and undefined children are left out.
export function h(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  const {on, ...rest} = attributes ?? {};
  for (const [name, value] of Object.entries(rest)) {
    if (value === null || value === undefined || value === false) continue;
    if (name !== 'value' || tag === 'progress' || tag === 'option') node.setAttribute(name,
      value === true ? '' : String(value));
  }
  if (on) listen(node, on);
  node.append(...flat(children));
  if (node.value !== undefined && tag !== 'option' && 'value' in rest && tag !== 'progress') node.value = rest.value;
  return node;
}

export const flat = (children) => children.flat(Infinity)
  .filter((child) => child !== null && child !== undefined && child !== false && child !== '')
  .map((child) => (!(child instanceof Node) ? String(child) : child.isConnected ? stay(child) : child));

const STAY = 'x-stay';

function stay(node) { // a place for a node that is on the page
  node.stays = true;
  return Object.assign(document.createElement(STAY), {node});
}

function settled(fresh) { // what is put in anew, with the nodes that stay in their places
  if (fresh.node) return fresh.node;
  for (const place of fresh.querySelectorAll?.(STAY) ?? []) place.replaceWith(place.node);
  return fresh;
}

// Handlers are looked up when the event comes, so that `morph` can hand new ones to an old node.
function listen(node, handlers) {
  node.handlers ??= {};
  for (const [type, handler] of Object.entries(handlers)) {
    if (!(type in node.handlers)) node.addEventListener(type, (event) => node.handlers[type]?.call(node, event));
    node.handlers[type] = handler;
  }
}

// A child's key tells it apart from its siblings; without one its place does.
const keyOf = (node) => node.getAttribute?.('data-key') ?? null;
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

// Make `old` like `fresh`, which is used up. A node with `data-own` looks after its own inside.
export function morph(old, fresh) {
  if (old === fresh) return old;
  if (!alike(old, fresh)) { old.replaceWith(settled(fresh)); return fresh; }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return old;
  }
  morphAttributes(old, fresh);
  if (fresh.handlers) listen(old, fresh.handlers);
  for (const type of Object.keys(old.handlers
    ?? {})) if (!(type in (fresh.handlers ?? {}))) old.handlers[type] = null;
  if (!old.hasAttribute('data-own')) morphChildren(old, fresh);
  return old;
}

function morphAttributes(old, fresh) {
  for (const {name} of [...old.attributes])
    if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  for (const {name, value} of fresh.attributes)
    if (old.getAttribute(name) !== value && !KEPT.has(name)) old.setAttribute(name, value);
}

function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.childNodes) if (keyOf(child) !== null) keyed.set(keyOf(child), child);
  let place = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const key = keyOf(next), there = place && !place.stays && keyOf(place) === null ? place : null;
    const match = next.node?.parentNode === old ? next.node : key === null ? there : keyed.get(key);
    if (match && (match === next.node || alike(match, next))) {
      if (match === place) place = place.nextSibling;
      else old.insertBefore(match, place);
      keyed.delete(key);
      if (match !== next.node) morph(match, next);
    } else old.insertBefore(settled(next), place);
  }
  while (place) { const rest = place.nextSibling; place.remove(); place = rest; }
}

// Fill a node with children, keeping what is there where it fits.
export function fill(node, ...children) {
  const fresh = node.cloneNode(false);
  fresh.append(...flat(children));
  morphChildren(node, fresh);
  return node;
}

// Pieces that several views use -----------------------------------------------------------------------------------

export const card = (title, ...children) => h('section', {class: 'card', 'data-key': `card ${title}`},
  title && h('h2', {}, title), ...children);

export const button = (label, click, kind = '', more = {}) =>
  h('button', {type: 'button', class: `button ${kind}`.trim(), on: {click}, ...more}, label);

export const link = (label, href, more = {}) => h('a', {href, ...more}, label);

export const chip = (label, tone) => h('span', {class: `chip is-${tone}`}, label);

export const note = (...children) => h('p', {class: 'note'}, ...children);

// rows of [term, what] as a definition list; empty ones are left out.
export const facts = (rows) => h('dl', {class: 'facts'}, rows.filter(([, what]) => what !== null && what !== undefined
  && what !== '').map(([term, what]) => h('div', {'data-key': term}, h('dt', {}, term), h('dd', {}, what))));

// A table that scrolls sideways within itself. Columns are [name, css]; rows {key, cells, css}.
export function table(label, columns, rows, css = '') {
  return h('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label},
    h('table', {class: `table ${css}`.trim()},
    h('thead', {}, h('tr', {}, columns.map(([name, kind]) => h('th', {scope: 'col', class: kind}, name)))),
    h('tbody', {}, rows.map((row) => h('tr', {'data-key': row.key, class: row.css},
      row.cells.map((cell, k) => h(k ? 'td' : 'th', {class: columns[k][1], scope: k ? null : 'row'}, cell)))))));
}

export function field(label, control, help = '', more = {}) {
  const id = control.id || `f-${field.next = (field.next ?? 0) + 1}`;
  control.id = id;
  if (help) control.setAttribute('aria-describedby', `${id}-help`);
  return h('div', {class: 'field', ...more}, h('label', {for: id}, label), control,
    help && h('p', {class: 'help', id: `${id}-help`}, help));
}
