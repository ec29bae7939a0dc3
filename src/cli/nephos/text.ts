import { formatDuration } from './duration.ts';

/** Returns rows in columns, each as wide as its widest cell, with two blanks between them. The first row is the head. */
export function columns(rows: readonly (readonly string[])[]): string {
  const shown = rows.map((row) => row.map(printable));
  const widths = (shown[0] ?? []).map((_, at) => Math.max(...shown.map((row) => widthOf(row[at] ?? ''))));
  return shown
    .map((row) => row.map((cell, at) => padded(cell, widths[at] ?? 0)).join('  '))
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}

function padded(cell: string, width: number): string {
  return `${cell}${' '.repeat(width - widthOf(cell))}`;
}

function widthOf(text: string): number {
  return Array.from(text).length;
}

/** Replaces control characters: names and messages of others must not control the terminal. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Returns a size in the largest unit with at least one whole: `1.5 GiB`. */
export function showSize(bytes: number): string {
  let [size, unit] = [bytes, 0];
  while (size >= 1024 && unit < UNITS.length - 1) [size, unit] = [size / 1024, unit + 1];
  const digits = unit === 0 || size >= 100 || Number.isInteger(size) ? 0 : 1;
  return `${size.toFixed(digits)} ${UNITS[unit]}`;
}

/** Returns the age of a time in ISO 8601: `5 minutes`. */
export function showAge(iso: string, now = Date.now()): string {
  const ms = now - Date.parse(iso);
  return Number.isNaN(ms) ? '' : formatDuration(Math.max(0, ms));
}

/** Returns a value as JSON for programs. */
export function showJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
