import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import type { ImageProgress } from '../../images/image.ts';
import { createCleanupStack, type CleanupStack } from '../../util/cleanup-stack.ts';
import { onAbort } from '../../util/shutdown-signals.ts';
import { reasonOf } from '../../util/errno.ts';
import { RunError } from '../errors.ts';
import type { VmRecord } from '../record.ts';
import { RUN_EXIT, type RunRequest } from '../run-request.ts';
import { KILL } from '../signals.ts';
import type { RunExit } from './command-exit.ts';
import { openControl } from './command-signals.ts';
import { POWER_OFF } from './guest-end.ts';
import { lendTerminal, terminalSize } from './host-terminal.ts';
import { createOutputLog } from './output-log.ts';
import type { RunParts } from './parts.ts';
import { LOGIN_SHELL } from './prepare-run.ts';
import { exitOfGuest, runCommand, type CommandStreams } from './run-command.ts';
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
  return 'code' in running ? running : runToExit(running, request, host);
}

/** Runs the command of a VM until its exit, and ends the VM. @throws GuestError where the command cannot be started */
export async function runToExit(running: RunningVm, request: RunRequest, host: RunHost): Promise<RunExit> {
  let exit: RunExit = { code: RUN_EXIT.failed, reason: 'the command did not start' };
  try {
    exit = await runMain(running, request, host);
    if (existsSync(running.vm.paths.killed)) exit = { code: 128 + constants.signals.SIGKILL };
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

/** Returns the exit of a run that a signal ended before there was a command. */
export function exitOfSignal({ reason }: AbortSignal): RunExit {
  const value: unknown = reason;
  const code = typeof value === 'object' && value !== null && 'code' in value ? Number(value.code) : 130;
  return { code };
}

/** Reason of a command that a reboot of its guest has ended. */
const REBOOTED = 'the guest rebooted, which ended the command';

/** Runs the command of a VM. A log-in shell is opened again after a reboot of the guest. */
async function runMain(running: RunningVm, request: RunRequest, host: RunHost): Promise<RunExit> {
  if (running.process.argv.length === 0) return untilEnd(running, host);
  const resources = createCleanupStack();
  try {
    const streams = resources.use(streamsOf(running, request, host));
    const control = resources.use(await openControl(running));
    for (;;) {
      const lost = await runOnGuest(running, request, { host, streams, control, resources });
      const exit = await exitOfShutdown(running, lost, host.signals);
      if (running.process.argv !== LOGIN_SHELL || exit.reason !== REBOOTED) return exit;
      if (!(await isReadyAgain(running, host.signals))) return exit;
    }
  } finally {
    await resources[Symbol.asyncDispose]();
  }
}

interface CommandResources {
  readonly host: RunHost;
  readonly streams: CommandStreams;
  readonly control: Awaited<ReturnType<typeof openControl>>;
  readonly resources: CleanupStack;
}

function runOnGuest(
  { vm, image, guest, failed, reboots, process: main }: RunningVm,
  request: RunRequest,
  { host, streams, control, resources }: CommandResources,
): Promise<RunExit> {
  const pty = { ...terminalSize(), term: process.env['TERM'] ?? 'xterm' };
  const rebooted = reboots?.nextReset().then(() => new RunError('crashed', REBOOTED));
  return runCommand(guest, rebooted === undefined ? failed : Promise.race([failed, rebooted]), {
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
      stop: AbortSignal.any([host.signals.stop, control.killed]),
      onStarted: ({ kill, resize }) => {
        control.start(kill);
        host.signals.forward(kill, image?.kind === 'oci' ? image.process.stopSignal : undefined);
        if (request.hasTerminal) resources.use(lendTerminal(request.isInteractive, resize));
        host.onStarted(vm.record);
      },
    },
  });
}

/** Time limit of a guest's shutdown, in milliseconds. */
const SHUTDOWN_MS = 90_000;

/**
 * Waits for the end of a shutdown that may have ended a command: a reboot, or a power-off. A command that has ended by itself has its own
 * exit; so has one of a signal, unless it is a log-in shell.
 */
async function exitOfShutdown(
  { reboots, failed, process: { argv } }: RunningVm,
  exit: RunExit,
  { stop }: RunSignals,
): Promise<RunExit> {
  const isLost = exit.code === RUN_EXIT.crashed && exit.reason !== undefined;
  const isShell = argv === LOGIN_SHELL && exit.code > 128;
  if (reboots === undefined || !(isLost || isShell) || !reboots.isShuttingDown()) return exit;
  const limit = AbortSignal.any([stop, AbortSignal.timeout(SHUTDOWN_MS)]);
  return Promise.race([
    failed.then(exitOfGuest),
    reboots.nextReset().then((): RunExit => ({ code: RUN_EXIT.crashed, reason: REBOOTED })),
    new Promise<RunExit>((resolve) => onAbort(limit, () => resolve(exit))),
  ]);
}

/** Waits until a guest is ready after a reboot. @returns false where the VM has ended before */
function isReadyAgain({ reboots, failed }: RunningVm, { stop }: RunSignals): Promise<boolean> {
  if (reboots === undefined) return Promise.resolve(false);
  return Promise.race([
    reboots.ready().then(() => true),
    failed.then(() => false),
    new Promise<boolean>((resolve) => onAbort(stop, () => resolve(false))),
  ]);
}

/** Returns the exit of a VM without a command: a power-off is no failure. */
function exitWithoutCommand(reason: RunError): RunExit {
  return reason.message === POWER_OFF
    ? { code: reason.exitCode ?? 0, reason: POWER_OFF }
    : exitOfGuest(reason);
}

/** Waits for the exit of a VM without a command: its guest powers off, or a signal ends it. */
async function untilEnd(running: RunningVm, { signals, onStarted }: RunHost): Promise<RunExit> {
  const { vm, failed } = running;
  await using control = await openControl(running);
  return await new Promise<RunExit>((resolve) => {
    const end = (): void => resolve({ code: 0 });
    onAbort(signals.stop, end);
    onAbort(control.killed, () => resolve({ code: 128 + KILL }));
    // any signal ends it: there is no command to get it
    signals.forward(end);
    control.start(end);
    failed.then((reason) => resolve(exitWithoutCommand(reason))).catch(() => undefined);
    onStarted(vm.record);
  });
}

/** Adds the log to the outputs. A run in the foreground that leaves nothing has none. */
function streamsOf(
  { vm }: RunningVm,
  request: RunRequest,
  { stdin, stdout, stderr }: RunHost,
): CommandStreams & AsyncDisposable {
  const hasLog = request.isDetached || !request.removes;
  const log = hasLog ? createOutputLog(vm.paths.output) : undefined;
  return {
    stdin: request.isInteractive ? stdin : undefined,
    stdout: [stdout, log?.stream('stdout')].filter((one) => one !== undefined),
    stderr: [stderr, log?.stream('stderr')].filter((one) => one !== undefined),
    [Symbol.asyncDispose]: async () => log?.[Symbol.asyncDispose](),
  };
}
