// Dialogs: a question before something is done, and the log-in that opens when the session has ended.

import {Away, Refused, login, session} from './api.js';
import {button, field, fill, h} from './dom.js';
import {duration} from './format.js';

const DAY = 24 * 3600;

// Escape twice closes any dialog: one that must stay is opened again.
function open(node, stays = () => false) {
  const before = document.activeElement;
  document.body.append(node);
  node.addEventListener('close', () => {
    if (stays()) { node.showModal(); return; }
    node.remove();
    if (before?.isConnected) before.focus();
  });
  node.showModal();
  return node;
}

// Ask, then do. `run()` works while the dialog is open; what the server refuses is said in it. Resolves to what `run`
// returned, or to null if the person thought better of it.
export function ask({title, body, sure, danger = false, working = 'Working …', run}) {
  return new Promise((resolve) => {
    const said = h('p', {class: 'said', role: 'alert'});
    const back = button('Back', () => { node.close(); resolve(null); }, 'is-quiet');
    const go = button(sure, async () => {
      go.disabled = back.disabled = true;
      fill(said); go.textContent = working;
      try {
        const done = await run();
        node.close(); resolve(done ?? true);
      } catch (error) {
        fill(said, error.message); back.textContent = 'Close';
        back.disabled = false; go.disabled = false; go.textContent = 'Try again';
        back.focus();
      }
    }, danger ? 'is-danger' : 'is-main');
    const node = h('dialog', {class: 'dialog', 'aria-labelledby': 'dialog-title'},
      h('h2', {id: 'dialog-title'}, title),
      h('div', {class: 'dialog-body'}, body.map((part) => (typeof part === 'string' ? h('p', {}, part) : part))),
        said,
      h('div', {class: 'actions'}, back, go));
    node.addEventListener('cancel', (event) => { if (go.disabled) event.preventDefault(); else resolve(null); });
    open(node);
    back.focus();
  });
}

// Name and password. `entered()` is called when the server let the person in. Used by the log-in page and the dialog.
export function loginForm(entered, {name = '', more = []} = {}) {
  const who = h('input', {id: 'login-name', name: 'username', autocomplete: 'username', maxlength: '80',
    required: true, value: name});
  const password = h('input', {id: 'login-password', name: 'password', type: 'password',
    autocomplete: 'current-password', required: true});
  const said = h('p', {class: 'said', role: 'alert'}), go = h('button', {class: 'button is-main', type: 'submit'},
    'Log in');
  const form = h('form', {class: 'login-form', novalidate: true},
    field('Your name', who, 'Stands in the audit log beside everything you do.'),
      field('Administrator password', password), said,
    h('div', {class: 'actions'}, more, go));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    const missing = !who.value.trim() ? who : !password.value ? password : null;
    if (missing) { fill(said, missing === who ? 'Enter your name.' : 'Enter the password.'); missing.focus(); return;
      }
    go.disabled = true; go.textContent = 'Checking …';
    try {
      await login(who.value.trim(), password.value);
      password.value = '';
      entered();
    } catch (error) {
      password.value = '';
      failed(error, said, go, password);
    }
  });
  return form;
}

function failed(error, said, go, password) {
  const free = () => { go.disabled = false; go.textContent = 'Log in'; };
  if (error instanceof Refused && error.status === 429) return countDown(error, said, go, free);
  const words = error instanceof Away ? 'The server cannot be reached. Try again in a moment.'
    : error.status === 401 && !error.extra.error ? 'That is not the password.' : error.message;
  fill(said, words);
  free();
  password.focus();
}

function countDown(error, said, go, free) {
  const end = performance.now() + 1000 * Math.min(error.retryAfter ?? 60, DAY);
  go.textContent = 'Log in';
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    if (left <= 0) { fill(said, 'You can try again now.'); free(); return; }
    fill(said, `${error.message} Possible again in ${duration(left)}.`);
    setTimeout(tick, 1000);
  };
  tick();
}

let asking = null;

// Opened when a request finds the session ended; resolves once the person is logged in again. One dialog at a time.
export function expired() {
  asking ??= new Promise((resolve) => {
    let done = false;
    const entered = () => { done = true; node.close(); asking = null; resolve(); };
    const leave = button('Leave this page', () => location.reload(), 'is-quiet');
    const node = h('dialog', {class: 'dialog', 'aria-labelledby': 'expired-title'},
      h('h2', {id: 'expired-title'}, 'You were logged out'),
      h('p', {}, 'Your session has ended. Jobs go on. Log in again and the page goes on where you were; nothing you '
        + 'typed is lost.'),
      loginForm(entered, {name: session.who, more: [leave]}));
    node.addEventListener('cancel', (event) => event.preventDefault());
    open(node, () => !done);
    (session.who ? node.querySelector('[type=password]') : node.querySelector('input')).focus();
  });
  return asking;
}
