import type { Duplex } from 'node:stream';
import * as v from 'valibot';
import { deferred } from '../../util/deferred.ts';
import { reasonOf } from '../../util/errno.ts';
import { limitCalls, OUTSIDE_LIMIT } from '../../util/rate-limit.ts';
import { createLog } from '../../util/log.ts';
import { sendDescriptors } from '../../native/descriptor-passing.ts';
import {
  ANSWER_DEADLINE,
  shortestSeconds,
  START_DEADLINE,
  watchProgress,
  type ProgressDeadline,
} from './progress-deadline.ts';
import { checkReply } from './command.ts';
import { typedExecute, type Execute, type SendCommand } from './commands/index.ts';
import { decodeEvent, type QmpEvent } from './events.ts';
import type { ReadProgress } from '../process/progress.ts';
import { QmpError } from './qmp-error.ts';
import { encodeMessage, isMessage, readMessages, writeMessage, type QmpMessage } from './messages.ts';

const log = createLog('qmp');

/*
 * QMP, QEMU's control protocol (docs/interop/qmp-spec in QEMU's documentation):
 *
 * - messages.ts            bytes to JSON messages and back
 * - connection.ts          greeting, commands in flight, events
 * - commands/, command.ts  every command that is used: type of its arguments, schema of its reply
 * - events.ts              every event that is used, as a union
 * - qmp-error.ts           a command that failed
 * - progress-deadline.ts   time limits for QEMU without progress
 * - steps.ts               the steps of a plan, added to and removed from a running QEMU
 * - migration.ts, device-state.ts, block-activation.ts   sequences of commands that move a machine's state
 * - jobs.ts, disk-copy.ts  jobs of the block layer; copies of disks as they were at a moment
 * - ram-blocks.ts, host-ports.ts, firmware-phase.ts      answers of the human monitor, as values
 *
 * States: waits for the greeting, negotiates capabilities, open, closed when QEMU exits. Invariants: each command
 * settles once, at the latest when the connection closes or QEMU makes no progress; every value that leaves this folder has a type.
 */

/** The control connection to one QEMU. */
export interface Qmp {
  /** QEMU's version as `[major, minor, micro]` */
  readonly version: readonly [number, number, number];
  readonly execute: Execute;
}

interface Pending {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  /** stops the check for a QEMU that hangs */
  readonly stopWatch: () => void;
}

/** Deadlines for QEMU. */
export interface QmpDeadlines {
  readonly readProgress: ReadProgress;
  readonly start: ProgressDeadline;
  readonly answer: ProgressDeadline;
}

/** Returns the default deadlines, for a QEMU whose progress `readProgress` reads. */
export function defaultDeadlines(readProgress: ReadProgress): QmpDeadlines {
  return { readProgress, start: START_DEADLINE, answer: ANSWER_DEADLINE };
}

/**
 * Waits for QEMU's greeting and negotiates capabilities. `onEvent` gets every event, in order. `onGreeting` is called at the greeting: QEMU
 * answers when it has made its devices.
 * Rejects with QmpError if the stream ends before the greeting, or QEMU hangs.
 */
export async function openQmp(
  stream: Duplex,
  onEvent: (event: QmpEvent) => void,
  { readProgress, start, answer }: QmpDeadlines = defaultDeadlines(async () => ''),
  onGreeting: () => void = () => undefined,
): Promise<Qmp> {
  const pending = new Map<number, Pending>();
  const greeting = deferred<QmpMessage>();
  const logEvent = createEventLog();
  const takeEvent = (event: string, data: unknown): void => {
    logEvent(event, data);
    onEvent(decodeEvent(event, data));
  };
  let nextId = 1;

  readMessages(stream, (message) => {
    if (isMessage(message['QMP'])) greeting.resolve(message['QMP']);
    else if (typeof message['event'] === 'string') takeEvent(message['event'], message['data']);
    else settle(pending, message);
  });
  stream.on('error', (error) => log.debug(`connection: ${error.message}`));
  stream.on('close', () => {
    greeting.reject(new QmpError('greeting', 'QEMU ended before it was ready'));
    for (const one of pending.values()) fail(one, 'QEMU ended before it answered');
    pending.clear();
  });

  const send: SendCommand = (command, args, fds) =>
    new Promise((resolve, reject) => {
      if (stream.destroyed) return reject(new QmpError(command, 'QEMU has ended'));
      const id = nextId++;
      const stopWatch = watchProgress(readProgress, answer, () => {
        pending.delete(id);
        const reason = `QEMU did not answer within ${shortestSeconds(answer)} s: it hangs`;
        reject(new QmpError(command, reason, { hangs: true }));
      });
      pending.set(id, { command, resolve, reject, stopWatch });
      log.trace(`> ${command}`);
      const message = { execute: command, ...(args === undefined ? {} : { arguments: args }), id };
      if (fds.length === 0) return writeMessage(stream, message);
      sendDescriptors(stream, encodeMessage(message), fds).catch((error: unknown) => {
        settle(pending, { id, error: { desc: reasonOf(error) } });
      });
    });

  const late = (): void => greeting.reject(new QmpError('greeting', notReady(start), { hangs: true }));
  const stopWatch = watchProgress(readProgress, start, late);
  const version = versionOf(await greeting.promise.finally(stopWatch));
  onGreeting();
  const execute = typedExecute(send);
  await execute('qmp_capabilities');
  return { version, execute };
}

function notReady(deadline: ProgressDeadline): string {
  const cause = 'it waits for something of the host, e.g. a disk image or a file that cannot be read';
  return `QEMU was not ready within ${shortestSeconds(deadline)} s: ${cause}`;
}

/** Logs one event, limited in rate: a guest can cause any number of them. */
type LogEvent = (data: unknown) => void;

function createEventLog(): (event: string, data: unknown) => void {
  const logs = new Map<string, LogEvent>();
  return (event, data) => {
    const known = logs.get(event);
    const one = known ?? limitedLog(event);
    if (known === undefined) logs.set(event, one);
    one(data);
  };
}

function limitedLog(event: string): LogEvent {
  return limitCalls((data: unknown) => log.debug(`event ${event} ${JSON.stringify(data ?? {})}`), {
    ...OUTSIDE_LIMIT,
    onDropped: (count) => log.debug(`event ${event}: ${count} further ones are not shown`),
  });
}

function settle(pending: Map<number, Pending>, message: QmpMessage): void {
  const id = Number(message['id']);
  const one = pending.get(id);
  if (one === undefined) return;
  pending.delete(id);
  one.stopWatch();
  const error = message['error'];
  if (isMessage(error)) one.reject(refusalOf(one.command, error));
  else one.resolve(message['return']);
}

function refusalOf(command: string, { class: errorClass, desc }: QmpMessage): QmpError {
  return new QmpError(command, String(desc), typeof errorClass === 'string' ? { errorClass } : {});
}

function fail(one: Pending, reason: string): void {
  one.stopWatch();
  one.reject(new QmpError(one.command, reason));
}

const Greeting = v.object({
  version: v.object({ qemu: v.object({ major: v.number(), minor: v.number(), micro: v.number() }) }),
});

function versionOf(greeting: QmpMessage): readonly [number, number, number] {
  const { major, minor, micro } = checkReply('greeting', Greeting, greeting).version.qemu;
  return [major, minor, micro];
}
