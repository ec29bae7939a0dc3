import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { codeOf, reasonOf } from '../../util/errno.ts';
import { RUN_EXIT } from '../run-request.ts';
import type { RunExit } from './command-exit.ts';

/** Outputs of a command. */
export interface Outputs {
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/**
 * Ends the outputs of a command and waits until their bytes are written, their readers have closed, or a signal ends the wait.
 * A closed reader is no error: the command gets SIGPIPE.
 * @returns the reason where output is lost, e.g. `standard output: no space left on device`
 */
export async function finishOutputs(
  { stdout, stderr }: Outputs,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const [output, errors] = await Promise.all([
    finishOutput('standard output', stdout, signal),
    finishOutput('standard error', stderr, signal),
  ]);
  return output ?? errors;
}

/** Ends one output, as {@link finishOutputs}. */
export async function finishOutput(
  name: string,
  stream: Writable,
  signal?: AbortSignal,
): Promise<string | undefined> {
  stream.end();
  await finished(stream, signal === undefined ? {} : { signal }).catch(() => undefined);
  const error = stream.errored;
  return error === null || codeOf(error) === 'EPIPE' ? undefined : `${name}: ${reasonOf(error)}`;
}

/** Returns the exit of a run after its outputs are finished: a success whose output is lost is a failure. */
export async function exitWithOutputs(
  exit: RunExit,
  outputs: Outputs,
  signal: AbortSignal,
): Promise<RunExit> {
  const lost = await finishOutputs(outputs, signal);
  if (lost === undefined) return exit;
  return { code: exit.code === 0 ? RUN_EXIT.failed : exit.code, reason: exit.reason ?? lost };
}
