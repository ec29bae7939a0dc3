import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { VmRecord } from '../record.ts';

/** Longest record, in bytes: a command line of Linux has 2 MiB at most. */
const RECORD_BYTES_MAX = 8 * 2 ** 20;

/** Replaces a record atomically: a reader sees the old one or the new one. */
export function writeRecord(path: string, record: VmRecord): void {
  replaceFile(path, `${JSON.stringify(record, undefined, 2)}\n`);
}

/** Replaces the content of a file atomically; a new one has mode 0600. @throws RunError */
export function replaceFile(path: string, text: string): void {
  const next = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    writeFileSync(next, text, { mode: 0o600, flag: 'wx' });
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw new RunError('start', `${path}: cannot be written: ${reasonOf(error)}`, { cause: error });
  }
}

/** Reads a record. @returns undefined where there is none. @throws RunError for a file that is no record */
export function readRecord(path: string): VmRecord | undefined {
  let text: string;
  try {
    text = readBounded(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw new RunError('unsafe', `${path}: cannot be read: ${reasonOf(error)}`, { cause: error });
  }
  const record = parse(text);
  if (record === undefined)
    throw new RunError(
      'unsafe',
      `${path}: is no record of a VM of this version of Nephos: remove its directory`,
    );
  return record;
}

/** Reads a file of bounded size; a link is refused. @throws the system's error */
export function readBounded(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { size } = fstatSync(fd);
    if (size > RECORD_BYTES_MAX) throw new Error(`${size} bytes, a record has ${RECORD_BYTES_MAX} at most`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function parse(text: string): VmRecord | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return isRecord(json) ? json : undefined;
  } catch {
    return undefined;
  }
}

/** The file is this user's alone and written by this program: the version and the members that readers need are checked. */
function isRecord(json: unknown): json is VmRecord {
  if (typeof json !== 'object' || json === null) return false;
  const { version, name, id, request, created, ports }: Partial<Record<string, unknown>> = { ...json };
  return (
    version === 1 &&
    [name, id, created].every((one) => typeof one === 'string') &&
    typeof request === 'object' &&
    request !== null &&
    Array.isArray(ports)
  );
}
