import type { Readable, Writable } from 'node:stream';
import type { ImageProgress } from '../../images/image.ts';
import { createCleanupStack } from '../../util/cleanup-stack.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { VmRecord } from '../record.ts';
import { RUN_EXIT, type RunRequest } from '../run-request.ts';
import type { RunExit } from './command-exit.ts';
import { POWER_OFF } from './guest-end.ts';
import { lendTerminal, terminalSize } from './host-terminal.ts';
import { createOutputLog } from './output-log.ts';
import type { RunParts } from './parts.ts';
import { runCommand, type CommandStreams } from './run-command.ts';
import type { RunSignals } from './run-signals.ts';
import { startRun, type RunningVm } from './run-vm.ts';

/** Surroundings of a run in its owner process. */
export interface RunHost {
  readonly signals: RunSignals;
  readonly stdin: Readable | undefined;
  /** undefined: the output is in the log alone */
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  readonly onProgress?: (progress: ImageProgress) => void;
  /** Called when the command runs */
  readonly onStarted: (record: VmRecord) => void;
}

/**
 * Runs a request in this process, from the image to the exit of its command. The VM has ended when the promise settles.
 * @throws as `startRun`
 */
export async function ownRun(request: RunRequest, parts: RunParts, host: RunHost): Promise<RunExit> {
  const { signals, onProgress } = host;
  const running = await startOrAbort(request, parts, {
    signal: signals.start,
    ...(onProgress !== undefined && { onProgress }),
  });
  if ('code' in running) return running;
  let exit: RunExit = { code: RUN_EXIT.failed, reason: 'the command did not start' };
  try {
    exit = await runMain(running, request, host);
    return exit;
  } catch (error) {
    exit = { code: RUN_EXIT.failed, reason: reasonOf(error) };
    throw error;
  } finally {
    await running.finish(exit);
  }
}

/** Starts the VM. @returns the exit of a start that a signal of this process aborted, or of a guest that crashed */
async function startOrAbort(
  request: RunRequest,
  parts: RunParts,
  options: Parameters<typeof startRun>[2],
): Promise<RunningVm | RunExit> {
  try {
    return await startRun(request, parts, options);
  } catch (error) {
    if (options.signal.aborted) return exitOfSignal(options.signal);
    if (error instanceof RunError && error.fault === 'crashed')
      return { code: RUN_EXIT.crashed, reason: error.message };
    throw error;
  }
}

function exitOfSignal({ reason }: AbortSignal): RunExit {
  const value: unknown = reason;
  const code = typeof value === 'object' && value !== null && 'code' in value ? Number(value.code) : 130;
  return { code };
}

/** Runs the command of a VM. */
async function runMain(running: RunningVm, request: RunRequest, host: RunHost): Promise<RunExit> {
  const { vm, image, guest, failed, process: main } = running;
  if (main.argv.length === 0) return untilEnd(running, host);
  const pty = { ...terminalSize(), term: process.env['TERM'] ?? 'xterm' };
  const resources = createCleanupStack();
  try {
    const streams = await streamsOf(running, request, host);
    resources.use(streams);
    return await runCommand(guest, failed, {
      command: {
        argv: main.argv,
        options: {
          env: main.env,
          ...(main.cwd !== '' && { cwd: main.cwd }),
          ...(main.user !== '' && { user: main.user }),
          ...(request.hasTerminal && { pty }),
        },
        timeoutMs: request.timeoutMs,
      },
      streams,
      control: {
        stop: host.signals.stop,
        onStarted: ({ kill, resize }) => {
          host.signals.forward(kill, image?.kind === 'oci' ? image.process.stopSignal : undefined);
          if (request.hasTerminal) resources.use(lendTerminal(request.isInteractive, resize));
          host.onStarted(vm.record);
        },
      },
    });
  } finally {
    await resources[Symbol.asyncDispose]();
  }
}

/** Waits for the exit of a VM without a command: its guest powers off, or a signal ends it. */
function untilEnd({ vm, failed }: RunningVm, { signals, onStarted }: RunHost): Promise<RunExit> {
  return new Promise((resolve) => {
    onAbort(signals.stop, () => resolve({ code: 0 }));
    // any signal ends it: there is no command to get it
    signals.forward(() => resolve({ code: 0 }));
    failed
      .then(({ message }) => resolve({ code: message === POWER_OFF ? 0 : RUN_EXIT.crashed, reason: message }))
      .catch(() => undefined);
    onStarted(vm.record);
  });
}

/** Adds the log to the outputs. A run in the foreground that leaves nothing has none. */
async function streamsOf(
  { vm }: RunningVm,
  request: RunRequest,
  { stdin, stdout, stderr }: RunHost,
): Promise<CommandStreams & AsyncDisposable> {
  const hasLog = request.isDetached || !request.removes;
  const log = hasLog ? await createOutputLog(vm.paths.output) : undefined;
  return {
    stdin: request.isInteractive ? stdin : undefined,
    stdout: [stdout, log?.stream('stdout')].filter((one) => one !== undefined),
    stderr: [stderr, log?.stream('stderr')].filter((one) => one !== undefined),
    [Symbol.asyncDispose]: async () => log?.[Symbol.asyncDispose](),
  };
}
