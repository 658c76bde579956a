// How the map is handled: mouse, touch, keyboard, its buttons, and the lists beside it. A mouse drag and a one-finger
// lasso are Plotly's; one finger that moves the map and two that pinch are ours.

const PICK = 14, TOUCH_PICK = 24, MOVED = 5; // px
const ASIDE = 2.5; // an arrow key prefers what lies straight ahead: a px aside costs as much as this many ahead
const STEP = 1.6;  // of a zoom
const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

export function listen(map) {
  const {stage, root, by} = map;
  by.addEventListener('change', () => map.colour(by.value));
  root.addEventListener('click', (event) => map.data && clicked(map, event.target.closest('button')));
  stage.addEventListener('keydown', (event) => map.data && pressed(map, event));
  stage.addEventListener('dblclick', () => map.data && map.mode === 'pan' && map.look(map.home()));
  stage.addEventListener('blur', () => { map.cursor = -1; map.hideCard(); map.place(); });
  stage.addEventListener('pointerleave', (event) => {
    if (event.pointerType !== 'touch') { map.hideCard(); map.place(); }
  });
  listenToPointers(map);
  listenToLists(map);
}

function clicked(map, button) {
  const {mode, step, code} = button?.dataset ?? {};
  if (mode) { map.mode = mode; map.draw(); }
  if (step === 'in' || step === 'out') map.zoom(step === 'in' ? STEP : 1 / STEP);
  if (step === 'home') map.look(map.home());
  if (step === 'find') map.look({x: map.told.x, y: map.told.y, scale: map.home().scale / 4});
  if (step === 'clear') map.select(null);
  if (code !== undefined) {
    if (!map.off.delete(Number(code))) map.off.add(Number(code));
    button.setAttribute('aria-pressed', String(!map.off.has(Number(code))));
    map.draw();
  }
}

// Pointers --------------------------------------------------------------------------------------------------------

function listenToPointers(map) {
  const {stage} = map, fingers = new Map();
  let down = null;
  const spot = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const lift = (event) => { fingers.delete(event.pointerId); map.busy = fingers.size > 0; };
  stage.addEventListener('pointerdown', (event) => {
    down = {at: spot(event), touch: event.pointerType === 'touch', button: event.button, still: true};
    if (!down.touch) return;
    fingers.set(event.pointerId, down.at);
    map.busy = true;
    map.pinched = fingers.size > 1;
    if (map.pinched) down = null;
  }, {capture: true});
  window.addEventListener('pointermove', (event) => { // Plotly covers the page while it drags
    const now = spot(event), before = fingers.get(event.pointerId);
    if (down && Math.hypot(now[0] - down.at[0], now[1] - down.at[1]) > MOVED) down.still = false;
    if (!map.data || !before) return;
    fingers.set(event.pointerId, now);
    const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (other) pinch(map, before, now, other);
    else if (map.mode === 'pan' && !map.pinched) drag(map, before, now);
  }, {capture: true});
  stage.addEventListener('pointermove', (event) => {
    if (map.data && event.pointerType !== 'touch' && !event.buttons) map.point(map.pick(...spot(event), PICK));
  });
  window.addEventListener('pointerup', (event) => { // a press that did not move chooses the point under it
    const chosen = map.data && down?.still && down.button === 0;
    const row = chosen ? map.pick(...down.at, down.touch ? TOUCH_PICK : PICK) : -1;
    const {touch} = down ?? {};
    down = null;
    lift(event);
    if (touch) map.hideCard();
    if (row >= 0) map.open(row);
    if (row >= 0 && touch) map.showCard(row); // no hover there, and the panel may lie below the screen
  }, {capture: true});
  window.addEventListener('pointercancel', (event) => { down = null; lift(event); }, {capture: true});
  for (const name of ['touchstart', 'touchmove'])
    stage.addEventListener(name, (event) => {
      if (map.mode === 'pan' || event.touches.length > 1) event.stopPropagation();
      if (event.cancelable && name === 'touchmove') event.preventDefault();
    }, {capture: true, passive: false});
}

function drag(map, before, now) {
  const {x, y, scale} = map.view;
  map.look({x: x - (now[0] - before[0]) * scale, y: y + (now[1] - before[1]) * scale, scale});
}

function pinch(map, before, now, other) {
  const span = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]);
  map.zoom(span(now) / Math.max(span(before), 1), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
}

// Lists -----------------------------------------------------------------------------------------------------------

function listenToLists(map) { // a line or card that names a known lesion rings it on the map
  const tab = map.root.closest('#dd-latent') ?? map.root;
  const known = (event) => map.data && event.target.closest?.('[data-known]');
  const ring = (row) => { map.hideCard(); map.hover = row; map.place(); };
  for (const name of ['pointerover', 'focusin'])
    tab.addEventListener(name, (event) => known(event) && ring(Number(known(event).dataset.known)));
  for (const name of ['pointerout', 'focusout'])
    tab.addEventListener(name, (event) => known(event) && ring(-1));
  tab.addEventListener('click', (event) => {
    const node = known(event);
    if (!node) return;
    map.focus = Number(node.dataset.known);
    map.place();
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    document.getElementById('dd-latent-panel').scrollIntoView({block: 'nearest', behavior: calm ? 'auto' : 'smooth'});
  });
}

// Keyboard --------------------------------------------------------------------------------------------------------

function pressed(map, event) {
  const arrow = ARROWS[event.key], {x, y, scale} = map.view;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (arrow && event.shiftKey) map.look({x: x + arrow[0] * 60 * scale, y: y - arrow[1] * 60 * scale, scale});
  else if (arrow) walk(map, ...arrow);
  else if (event.key === '+' || event.key === '=') map.zoom(STEP);
  else if (event.key === '-' || event.key === '_') map.zoom(1 / STEP);
  else if (event.key === '0' || event.key === 'Home') map.look(map.home());
  else if ((event.key === 'Enter' || event.key === ' ') && map.cursor >= 0) map.open(map.cursor);
  else if (event.key === 'Escape') escape(map);
  else return;
  event.preventDefault();
}

function escape(map) { // first the cursor, then the selection
  const idle = map.cursor < 0 && map.card.hidden;
  map.cursor = -1;
  map.hideCard();
  map.place();
  if (idle && map.selected) map.select(null);
}

function walk(map, dx, dy) { // to the nearest point that way
  const {x, y} = map.data, {clientWidth: w, clientHeight: h} = map.stage;
  const from = map.cursor >= 0 ? map.at(x[map.cursor], y[map.cursor]) : [w / 2, h / 2];
  let best = -1, least = Infinity;
  for (let row = 0; row < x.length; row++) {
    if (row === map.cursor || !map.shown(row)) continue;
    const [px, py] = map.at(x[row], y[row]), along = (px - from[0]) * dx + (py - from[1]) * dy;
    const cost = along + ASIDE * (Math.abs((px - from[0]) * dy) + Math.abs((py - from[1]) * dx));
    if (along > 1 && cost < least) { best = row; least = cost; }
  }
  if (best < 0) return;
  const [px, py] = map.at(x[best], y[best]);
  if (px < 8 || py < 8 || px > w - 8 || py > h - 8) map.look({x: x[best], y: y[best], scale: map.view.scale});
  map.hideCard();
  map.cursor = best;
  map.place();
  map.showCard(best);
  const about = map.about(best), arms = about.arms.map((arm) => `${arm.name}: ${arm.said} ${arm.share}`);
  map.said.textContent = [about.label, about.id, about.lesion, ...arms].join(', ');
}
