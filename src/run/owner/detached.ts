import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { ImageProgress } from '../../images/image.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { VmRecord } from '../record.ts';
import type { RunRequest } from '../run-request.ts';
import type { RunExit } from './command-exit.ts';
import { checkTerminal } from './host-terminal.ts';
import { ownRun } from './own-run.ts';
import type { RunParts } from './parts.ts';
import { takeSignals } from './run-signals.ts';

/*
 * Runs in the background. The parent starts its own program again as the owner process of the VM, in a session of its own, and sends it the
 * request. The owner reports on a socket pair: lines of JSON, the last one when the command runs or the start has failed. An owner whose
 * parent exits before that aborts the start.
 */

/** Descriptor of the owner process for its reports. */
const REPORTS = 3;

/** A report of the owner process. */
type Report =
  | { readonly kind: 'progress'; readonly progress: ImageProgress }
  | { readonly kind: 'started'; readonly record: VmRecord }
  | { readonly kind: 'exit'; readonly exit: RunExit }
  | { readonly kind: 'error'; readonly message: string };

/**
 * Starts the owner process of a request, and waits until its command runs. `command` is the command line of the program with the verb
 * for {@link ownDetached}.
 * @returns the record of the VM, or the exit of a run that ended before
 * @throws RunError with the message of the owner process
 */
export async function runDetached(
  request: RunRequest,
  [program, ...words]: readonly [string, ...string[]],
  onProgress?: (progress: ImageProgress) => void,
): Promise<VmRecord | RunExit> {
  checkTerminal(request);
  using signals = takeSignals();
  const child = spawn(program, words, { detached: true, stdio: ['pipe', 'ignore', 'ignore', 'pipe'] });
  await once(child, 'spawn');
  const stop = (): void => void child.kill('SIGTERM');
  signals.start.addEventListener('abort', stop);
  child.stdin?.on('error', () => undefined).end(JSON.stringify(request));
  const reports = child.stdio[REPORTS];
  if (!(reports instanceof Socket))
    throw new RunError('start', 'the owner process has no channel for reports');
  try {
    const report = await lastReport(reports, onProgress);
    if (report.kind === 'error') throw new RunError('start', report.message);
    return report.kind === 'exit' ? report.exit : report.record;
  } finally {
    signals.start.removeEventListener('abort', stop);
    reports.destroy();
    child.unref();
  }
}

async function lastReport(
  stream: Readable,
  onProgress: ((progress: ImageProgress) => void) | undefined,
): Promise<Exclude<Report, { readonly kind: 'progress' }>> {
  stream.on('error', () => undefined);
  for await (const line of createInterface({ input: stream })) {
    // the writer is the same program
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const report = JSON.parse(line) as Report;
    if (report.kind !== 'progress') return report;
    onProgress?.(report.progress);
  }
  throw new RunError('start', 'the owner process of the VM exited before its command ran');
}

/** Runs the request on standard input as the owner process of its VM. The parent is {@link runDetached}. */
export async function ownDetached(parts: RunParts): Promise<void> {
  using signals = takeSignals();
  const reports = new Socket({ fd: REPORTS });
  reports.on('error', () => undefined).resume();
  const parent = new AbortController();
  reports.once('close', () => parent.abort({ code: 129 }));
  const send = (report: Report): void => void reports.write(`${JSON.stringify(report)}\n`);
  try {
    // the sender is the same program, which has checked the request
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const request = JSON.parse(await text(process.stdin)) as RunRequest;
    const exit = await ownRun(request, parts, {
      signals: { ...signals, start: AbortSignal.any([signals.start, parent.signal]) },
      stdin: undefined,
      stdout: undefined,
      stderr: undefined,
      onProgress: (progress) => send({ kind: 'progress', progress }),
      onStarted: (record) => {
        send({ kind: 'started', record });
        reports.end();
      },
    });
    if (reports.writable) send({ kind: 'exit', exit });
  } catch (error) {
    if (reports.writable) send({ kind: 'error', message: reasonOf(error) });
  } finally {
    reports.end();
  }
}
