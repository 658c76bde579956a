// Numbers, times and sizes as people read them.

const pad = (n) => String(n).padStart(2, '0');

export const count = (n) => (n === null || n === undefined ? '–' : Number(n).toLocaleString('en'));
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${Number(n) === 1 ? one : many}`;
export const percent = (share) => `${Math.floor(100 * share + 1e-9)} %`;
export const short = (hash) => (hash ?? '').slice(0, 12);

// Seconds in two units at most: "45 s", "12 min", "3 h 20 min", "2 d 4 h".
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(Number(seconds))) return 'not known';
  const s = Math.max(0, Math.round(Number(seconds)));
  if (s < 60) return `${s} s`;
  const m = Math.round(s / 60);
  if (m < 10 && s < 570) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  if (m < 60) return `${m} min`;
  const hours = Math.floor(m / 60);
  if (hours < 24) return m % 60 ? `${hours} h ${m % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

// A rough time that does not jump about: "about 25 min".
export function about(seconds) {
  if (seconds === null || seconds === undefined) return '';
  if (seconds < 60) return 'less than a minute';
  const step = seconds < 600 ? 60 : seconds < 3600 ? 300 : seconds < 36_000 ? 900 : 3600;
  return `about ${duration(Math.max(step, Math.round(seconds / step) * step))}`;
}

export function bytes(n) {
  if (n === null || n === undefined) return 'not known';
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let k = 0, value = Number(n);
  while (value >= 1000 && k < units.length - 1) { value /= 1000; k += 1; }
  return `${k ? value.toPrecision(value < 100 ? 2 : 3) : value} ${units[k]}`.replace(/(\d)e\+(\d)/, '$1');
}

// A time the server gave, as ISO text or seconds since 1970, on this computer's clock.
export function moment(value) {
  if (value === null || value === undefined || value === '') return '';
  const date = typeof value === 'number' ? new Date(1000 * value) : new Date(value);
  if (Number.isNaN(date.getTime())) return String(value);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}:`
    + pad(date.getMinutes());
}

export function seconds(value) { // the same with seconds, for logs
  const date = typeof value === 'number' ? new Date(1000 * value) : new Date(value);
  return Number.isNaN(date.getTime()) ? String(value ?? '') : `${moment(value)}:${pad(date.getSeconds())}`;
}

// Three figures, for losses and rates.
export function figure(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)) return value.toExponential(1);
  return String(Number(value.toPrecision(digits)));
}

export const signed = (value, digits = 3) => (value === null || value === undefined ? '–'
  : `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(digits)}`);
export const fixed = (value, digits = 3) => (value === null || value === undefined ? '–' : value.toFixed(digits));
