import type { Readable, Writable } from 'node:stream';
import { deferred, type Deferred } from '../../util/deferred.ts';
import { readFields, uint32, type FieldReader } from './fields.ts';

/** Types of packets (draft-ietf-secsh-filexfer-02, 3). */
export const PACKET = {
  init: 1,
  version: 2,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  stat: 17,
  readlink: 19,
  symlink: 20,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attributes: 105,
  extended: 200,
} as const;

/** Status codes (7). */
export const STATUS = { ok: 0, endOfFile: 1, noSuchFile: 2, failure: 4 } as const;

const STATUS_TEXTS = new Map([
  [1, 'end of file'],
  [2, 'no such file or directory'],
  [3, 'permission denied'],
  [4, 'the server reported a failure'],
  [8, 'the server does not support the operation'],
]);

/** A request that the server answered with a failure. */
export class SftpStatusError extends Error {
  override readonly name = 'SftpStatusError';
  readonly status: number;

  constructor(status: number) {
    super(STATUS_TEXTS.get(status) ?? `the server reported the status ${status}`);
    this.status = status;
  }
}

/** Largest packet, in bytes, as OpenSSH has it. */
const PACKET_BYTES_MAX = 262_144;

const VERSION = 3;

/** A session of SFTP version 3. */
export interface SftpProtocol {
  /** Names of the server's extensions */
  readonly extensions: ReadonlySet<string>;
  /** Sends a request. @returns the fields of the answer, which has the type; a status that is no failure has none */
  readonly request: (type: number, fields: readonly Buffer[], answer: number) => Promise<FieldReader>;
}

interface PendingRequest {
  readonly answer: number;
  readonly done: Deferred<FieldReader>;
}

/** Opens a session on the streams of a server. Pending requests reject when the output ends, and after a wrong packet. */
export async function openSftpProtocol(stdin: Writable, stdout: Readable): Promise<SftpProtocol> {
  const pending = new Map<number, PendingRequest>();
  const version = deferred<ReadonlySet<string>>();
  let failure: Error | undefined;
  let lastId = 0;
  const fail = (error: Error): void => {
    failure ??= error;
    version.reject(failure);
    for (const { done } of pending.values()) done.reject(failure);
    pending.clear();
  };
  const take = (packet: Buffer): void => {
    const fields = readFields(packet.subarray(1));
    if (packet[0] === PACKET.version) return version.resolve(extensionsOf(fields));
    const id = fields.uint32();
    const request = pending.get(id);
    if (request === undefined) throw new Error('the SFTP server answered a request that was not sent');
    pending.delete(id);
    settle(request, packet[0], fields);
  };
  const read = splitPackets(take);
  stdout.on('data', (bytes: Buffer) => {
    try {
      if (failure === undefined) read(bytes);
    } catch (error) {
      fail(error instanceof Error ? error : new Error('the SFTP answer is invalid', { cause: error }));
    }
  });
  stdout.once('close', () => fail(new Error('the SFTP server has ended')));
  send(stdin, PACKET.init, [uint32(VERSION)]);
  const extensions = await version.promise;
  return {
    extensions,
    request: (type, fields, answer) => {
      if (failure !== undefined) return Promise.reject(failure);
      lastId = (lastId + 1) >>> 0;
      const done = deferred<FieldReader>();
      pending.set(lastId, { answer, done });
      send(stdin, type, [uint32(lastId), ...fields]);
      return done.promise;
    },
  };
}

function settle({ answer, done }: PendingRequest, type: number | undefined, fields: FieldReader): void {
  if (type === answer && type !== PACKET.status) return done.resolve(fields);
  if (type !== PACKET.status)
    return done.reject(new Error(`the SFTP server answered with a packet of type ${type}`));
  const status = fields.uint32();
  if (status === STATUS.ok && answer === PACKET.status) done.resolve(fields);
  else done.reject(new SftpStatusError(status));
}

function send(stdin: Writable, type: number, fields: readonly Buffer[]): void {
  const length = fields.reduce((sum, field) => sum + field.length, 1);
  stdin.write(Buffer.concat([uint32(length), Buffer.from([type]), ...fields], length + 4));
}

function extensionsOf(fields: FieldReader): ReadonlySet<string> {
  const version = fields.uint32();
  if (version < VERSION) throw new Error(`the SFTP server has version ${version}, not ${VERSION}`);
  const names = new Set<string>();
  try {
    for (;;) {
      names.add(fields.string().toString());
      fields.string();
    }
  } catch {
    // the end of the packet
    return names;
  }
}

/** Returns a function that takes bytes and passes whole packets on. @throws for a packet beyond the limit */
function splitPackets(take: (packet: Buffer) => void): (bytes: Buffer) => void {
  let parts: Buffer[] = [];
  let length = 0;
  return (bytes) => {
    parts.push(bytes);
    length += bytes.length;
    for (;;) {
      if (length < 4) return;
      const [first = Buffer.alloc(0)] = parts;
      if (first.length < 4) parts = [Buffer.concat(parts)];
      const size = parts[0]?.readUInt32BE() ?? 0;
      if (size === 0 || size > PACKET_BYTES_MAX)
        throw new Error(`the SFTP server sent a packet of ${size} bytes`);
      if (length < size + 4) return;
      const all = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
      parts = [all.subarray(size + 4)];
      length -= size + 4;
      take(all.subarray(4, size + 4));
    }
  };
}
