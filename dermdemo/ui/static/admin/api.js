// Requests to the server. Every change carries the session's token; a session that has ended is renewed by
// `hooks.expired`
// (a dialog) and the request made again, so that nothing the person typed is lost.

const API = '/administration/api';
const AWAY = new Set([502, 503, 504]);

export const session = {who: '', csrf: '', idle: null, end: null}; // idle, end: ms on performance.now()
export const hooks = {expired: null, changed: null};

// The server answered, and said no. `extra` holds what came beside the sentence.
export class Refused extends Error {
  constructor(status, body, retryAfter) {
    super(body?.error || `The server answered ${status} and gave no reason.`);
    Object.assign(this, {status, kind: body?.kind ?? '', extra: body ?? {}, retryAfter});
  }
}

// The server did not answer.
export class Away extends Error {
  constructor() { super('The server cannot be reached.'); }
}

export function took(told) { // a session as the server described it
  const now = performance.now(), length = 1000 * (told.idle_seconds ?? 0);
  const named = session.who !== told.who;
  Object.assign(session, {who: told.who, csrf: told.csrf, length, idle: now + length,
    end: now + 1000 * (told.ends_in_seconds ?? told.idle_seconds ?? 0)});
  if (named) hooks.changed?.();
}

async function plain(method, path, {body, background, headers = {}} = {}) {
  const options = {method, cache: 'no-store', credentials: 'same-origin',
    headers: {Accept: 'application/json', ...headers}};
  if (background) options.headers['X-Background'] = '1';
  if (method !== 'GET') options.headers['X-CSRF-Token'] = session.csrf;
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  let answer, told = null;
  try { answer = await fetch(path, options); } catch { throw new Away(); }
  if (AWAY.has(answer.status)) throw new Away();
  try { told = await answer.json(); } catch { /* no JSON: the status says it */ }
  if (!answer.ok) throw new Refused(answer.status, told, Number(answer.headers.get('Retry-After')) || null);
  if (told === null) throw new Refused(answer.status, {error: 'The server sent an answer that cannot be read.'});
  if (!background) session.idle = performance.now() + (session.length ?? 0);
  return told;
}

export async function renew() { took(await plain('GET', `${API}/session`)); return session; }

async function request(method, path, options) {
  const before = {...session};
  try {
    return await plain(method, path, options);
  } catch (error) {
    if (!(error instanceof Refused) || (error.status !== 401
      && !(error.status === 403 && method === 'POST'))) throw error;
    await again(error, before);
    return plain(method, path, options);
  }
}

// After a 401 or 403: back only if the same person has another session now.
async function again(error, before) {
  try {
    await renew(); // logged in anew in another tab
    if (session.csrf === before.csrf) throw error;
  } catch (second) {
    if (!(second instanceof Refused) || second.status !== 401 || !hooks.expired) throw second;
    await hooks.expired();
  }
  if (before.who && session.who !== before.who)
    throw new Refused(403, {error: `You are logged in as ${session.who} now. Nothing was done; do it again if you `
      + `mean it.`});
}

export const get = (path) => request('GET', API + path);
export const poll = (path) => request('GET', API + path, {background: true});
export const post = (path, body = {}) => request('POST', API + path, {body});
export const fetched = (path, background) => (background ? poll(path) : get(path));
export const address = (path) => API + path;
export const id = encodeURIComponent;

// Logging in and out are no part of the API: they make and end the session. Errors as above.
export async function login(name, password) {
  took(await plain('POST', '/administration/login', {body: {name, password}}));
}
export async function logout() {
  await renew(); // another tab may have changed the token
  await plain('POST', '/administration/logout', {body: {}});
}

// Send a file as it is; `tell(sent, total)` is called as it goes. Returns {done, abort}.
export function upload(file, tell) {
  const call = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    const body = () => { try { return JSON.parse(call.responseText); } catch { return null; } };
    call.open('POST', `${API}/data/upload`);
    call.setRequestHeader('X-CSRF-Token', session.csrf);
    call.setRequestHeader('X-File-Name', encodeURIComponent(file.name));
    call.setRequestHeader('Content-Type', 'application/zip');
    call.upload.onprogress = (event) => tell(event.loaded, file.size);
    call.onload = () => (call.status < 300 ? resolve(body()) : reject(new Refused(call.status, body())));
    call.onerror = () => reject(new Away());
    call.onabort = () => resolve(null);
    call.send(file);
  });
  return {done, abort: () => call.abort()};
}
