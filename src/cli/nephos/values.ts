import { resolve } from 'node:path';
import type { PublishedPort, Volume } from '../../run/run-request.ts';
import { reasonOf } from '../../util/errno.ts';
import { openFile } from '../../util/open-file.ts';
import { didYouMean, nearest } from '../../util/nearest.ts';
import { UsageError } from '../flags.ts';

/** Largest file of variables, in bytes. */
const ENV_FILE_MAX = 2 ** 20;

const SIZE_UNIT: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};
const TIME_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  '': 1000,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Longest time limit: that of a timer of Node, in milliseconds. */
const TIME_MAX = 2 ** 31 - 1;

/** Reads a size: a number and K, M, G or T in any case (powers of 1024). @returns `bytes` */
export function readSize(flag: string, text: string): number {
  const [, number, unit = ''] = /^(\d{1,15}(?:\.\d{1,6})?)([bkmgt]?)(?:i?b)?$/i.exec(text) ?? [];
  const bytes = Math.round(Number(number) * (SIZE_UNIT[unit.toLowerCase()] ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw invalid(flag, text, 'a size such as 512M or 2G');
}

/** Reads a time: a number of seconds, or a number and ms, s, m, h or d. @returns `milliseconds` */
export function readTime(flag: string, text: string): number {
  const [, number, unit = ''] = /^(\d{1,12}(?:\.\d{1,6})?)(ms|[smhd]?)$/.exec(text) ?? [];
  const ms = Math.round(Number(number) * (TIME_UNIT[unit] ?? Number.NaN));
  if (ms <= TIME_MAX) return ms;
  throw invalid(flag, text, 'a time such as 30s, 5m or 1h, below 24 days');
}

/** Reads a whole number. */
export function readCount(flag: string, text: string, [least, most]: readonly [number, number]): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= least && count <= most) return count;
  throw invalid(
    flag,
    text,
    most === Infinity ? `a number from ${least} on` : `a number from ${least} to ${most}`,
  );
}

/** Reads a word of a list. `subject` is a flag, or an operand in capital letters. */
export function readWord<const W extends string>(subject: string, text: string, words: readonly W[]): W {
  const known = words.find((word) => word === text);
  if (known !== undefined) return known;
  throw invalid(subject, text, words.join(' or '), nearest(text, words));
}

/** Reads `NAME=VALUE`, or `NAME` for a variable of the host; one that the host has not is left out, as by docker. */
export function readVariables(
  texts: readonly string[],
  host: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string>> {
  const pairs = texts.flatMap((text): [string, string][] => {
    const equals = text.indexOf('=');
    const name = equals < 0 ? text : text.slice(0, equals);
    if (name === '' || text.includes('\0')) throw invalid('env', text, 'NAME=VALUE');
    const value = equals < 0 ? host[name] : text.slice(equals + 1);
    return value === undefined ? [] : [[name, value]];
  });
  return recordOf(pairs);
}

/** Reads files of variables: one a line; empty lines, and lines that start with `#`, are ignored. */
export async function readVariableFiles(paths: readonly string[]): Promise<string[]> {
  const texts = await Promise.all(paths.map(readVariableFile));
  return texts.flatMap((text) =>
    text.split(/\r?\n/).filter((line) => line.trim() !== '' && !line.trimStart().startsWith('#')),
  );
}

async function readVariableFile(path: string): Promise<string> {
  try {
    await using file = await openFile(path, { kinds: ['file'] });
    const { size } = await file.stat();
    if (size > ENV_FILE_MAX) throw new Error(`has ${size} bytes; ${ENV_FILE_MAX} are the most`);
    return await file.readFile('utf8');
  } catch (error) {
    throw new UsageError(`--env-file ${path}: ${reasonOf(error)}`, undefined, { cause: error });
  }
}

/** Reads `KEY=VALUE` or `KEY`, whose value is empty. */
export function readLabels(texts: readonly string[]): Readonly<Record<string, string>> {
  return recordOf(
    texts.map((text) => {
      const equals = text.indexOf('=');
      const key = equals < 0 ? text : text.slice(0, equals);
      if (key === '') throw invalid('label', text, 'KEY=VALUE');
      return [key, equals < 0 ? '' : text.slice(equals + 1)];
    }),
  );
}

/** A name such as `__proto__` is a key as any other. */
function recordOf(pairs: readonly (readonly [string, string])[]): Readonly<Record<string, string>> {
  return Object.fromEntries(pairs);
}

/** Reads `HOST:GUEST[:ro|rw]`. The guest's path is absolute; a relative one of the host is below `folder`. */
export function readVolume(text: string, folder = process.cwd()): Volume {
  const [, host = '', guest = '', mode = 'rw'] = /^(.+?):(\/[^:]*)(?::([a-z]+))?$/s.exec(text) ?? [];
  const expected = 'HOST:GUEST[:ro] with an absolute path of the guest';
  if (host === '' || guest === '/' || !['ro', 'rw'].includes(mode)) throw invalid('volume', text, expected);
  return { host: resolve(folder, host), guest, isReadOnly: mode === 'ro' };
}

/** Reads `[[ADDR:]HOST:]GUEST[/tcp|/udp]`; an IPv6 address is in brackets; without HOST a free port is chosen. */
export function readPort(text: string): PublishedPort {
  const [, address, host, guest, protocol = 'tcp'] =
    /^(?:(?:(\[[0-9a-f:.]+\]|\d{1,3}(?:\.\d{1,3}){3}):)?(\d{0,5}):)?(\d{1,5})(?:\/(tcp|udp))?$/i.exec(text) ??
    [];
  const hostPort = Number(host ?? '');
  const guestPort = Number(guest);
  if (!(guestPort >= 1 && guestPort <= 65_535 && hostPort <= 65_535))
    throw invalid('publish', text, '[ADDR:]HOST:GUEST[/udp], e.g. 8080:80');
  return {
    address: address?.replace(/^\[|\]$/g, '') ?? '127.0.0.1',
    hostPort,
    guestPort,
    protocol: protocol.toLowerCase() === 'udp' ? 'udp' : 'tcp',
  };
}

function invalid(subject: string, text: string, form: string, meant?: string): UsageError {
  const hint = didYouMean(meant);
  const isOperand = subject === subject.toUpperCase();
  return new UsageError(
    `${isOperand ? subject : `--${subject}`}: ${JSON.stringify(text)} is invalid`,
    `expected ${form}${hint === undefined ? '' : `; ${hint}`}`,
  );
}
