// Numbers, sizes and times as people read them.

const UNITS = ['', ' k', ' M', ' G', ' T', ' P'];

// Three digits that count: 1.23 M.
function digits(n) {
  if (n >= 100 || n === 0) return String(Math.round(n));
  return n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

export function si(n) {
  if (n === null || n === undefined || Number.isNaN(n)) return '–';
  if (n < 10 && n !== Math.round(n)) return digits(n);
  if (n < 1000) return n === Math.round(n) ? String(n) : digits(n);
  let unit = 0;
  while (n >= 999.5 && unit < UNITS.length - 1) { n /= 1000; unit++; }
  return digits(n) + UNITS[unit];
}

export const whole = (n) => (n === null || n === undefined ? '–' : n.toLocaleString('en'));

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (n >= 1023.5 && unit < units.length - 1) { n /= 1024; unit++; }
  return `${unit ? digits(n) : n} ${units[unit]}`;
}

export function microseconds(us) {
  if (us === null || us === undefined) return '–';
  if (us < 1000) return `${digits(us)} µs`;
  return us < 1e6 ? `${digits(us / 1000)} ms` : `${digits(us / 1e6)} s`;
}

export const percent = (part, of) => (of ? (part === 0 ? '0 %' : `${digits((100 * part) / of)} %`) : '–');

// "2026-11-30 16:04:05", in the reader's own zone.
export function time(date) {
  const d = new Date(date), two = (n) => String(n).padStart(2, '0');
  if (Number.isNaN(d.getTime())) return String(date);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function ago(date) {
  const s = Math.max(0, (Date.now() - new Date(date).getTime()) / 1000);
  const steps = [[60, 'second'], [60, 'minute'], [24, 'hour'], [365, 'day'], [Infinity, 'year']];
  let n = s;
  for (const [size, word] of steps) {
    if (n < size) { n = Math.floor(n); return `${n} ${word}${n === 1 ? '' : 's'} ago`; }
    n /= size;
  }
  return '';
}
