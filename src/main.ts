import type { FileHandle } from 'node:fs/promises';
import { isatty } from 'node:tty';
import { errorChain } from './api/errors.ts';
import { readDaemonOptions, type DaemonOptions } from './cli/daemon-options.ts';
import { daemonHelp } from './cli/daemon-help.ts';
import { OptionError, USAGE_EXIT, UsageError } from './cli/flags.ts';
import { exitWith } from './cli/exit.ts';
import { ExitError } from './cli/exit-error.ts';
import { createIdleResources } from './cli/idle-resources.ts';
import { serveVmm } from './cli/listeners.ts';
import { surviveLostTerminals } from './cli/lost-terminals.ts';
import { onEndSignals } from './cli/signals.ts';
import { DIALECT_VERSION, OWN_VERSION } from './cli/version.ts';
import { openEventMonitors, type EventMonitor, type MonitorTarget } from './host/system/event-monitor.ts';
import { setConfinement, type QemuUser } from './qemu/process/confinement.ts';
import { clip } from './util/clip.ts';
import { reasonOf } from './util/errno.ts';
import { createLineOutput } from './native/line-output.ts';
import { configureLog, createLog, type LogLevel } from './util/log.ts';
import { openFile, OUTPUT_FLAGS, OUTPUT_KINDS } from './util/open-file.ts';
import { createOutput, flushOutputs } from './native/output.ts';
import { limitEvents } from './vm/event-limits.ts';
import { logVmEvent, type VmEvent } from './vm/events.ts';
import { createJournal } from './vm/observe/journal.ts';
import type { Metrics } from './vm/observe/metrics.ts';
import { Vmm } from './vm/vmm.ts';
import { closeInBackground } from './util/background.ts';

const log = createLog('main');

const STDOUT = 1;
const STDERR = 2;

async function main(argv: readonly string[]): Promise<void> {
  surviveLostTerminals();
  const options = readDaemonOptions(argv);
  if (options.show === 'help') return print(daemonHelp());
  if (options.show === 'version') return print(`cloud-hypervisor v${DIALECT_VERSION}\nNephos ${OWN_VERSION}`);
  process.umask(0o077);
  using _log = await openLog(options.verbosity, options.logFile);
  await confine(options);
  await run(options);
}

async function confine({ seccomp, user }: DaemonOptions): Promise<void> {
  if (seccomp === 'log') log.warn('--seccomp log: QEMU has no such mode, it runs without a filter');
  setConfinement({
    filter: seccomp === 'true' || seccomp === 'errno' ? 'on' : 'off',
    user: user === undefined ? undefined : await findQemuUser(user),
  });
}

async function findQemuUser(text: string): Promise<QemuUser | undefined> {
  if (process.platform !== 'linux') throw new ExitError('--user: needs Linux');
  const { findUser } = await import('./host/system/user.ts');
  const user = await findUser(text).catch((error: unknown) => {
    throw new ExitError(`--user ${text}: ${reasonOf(error)}`, { cause: error });
  });
  if (user.uid === process.getuid?.() && user.gid === process.getgid?.()) return undefined;
  if (process.getuid?.() === 0) return user;
  throw new ExitError(`--user ${text}: only root can start QEMU as another user`);
}

/** Runs the VMM until it exits. Releases all its resources, also after an error. */
async function run(options: DaemonOptions): Promise<void> {
  const { apiSocket, web, eventMonitors, noShutdown } = options;
  using monitors = await openMonitors(eventMonitors);
  using idle = createIdleResources(options);
  const journal = createJournal();
  const record = limitEvents((event) => {
    logVmEvent(event);
    monitors.record(event);
    journal.append(event);
  });
  const onEvent = (event: VmEvent): void => {
    // the progress of operations is for streams alone
    if (event.event === 'operation') return journal.append(event);
    record(event);
    idle.onEvent(event);
    metrics?.onEvent(event);
  };
  const vmm = new Vmm({
    version: DIALECT_VERSION,
    buildVersion: OWN_VERSION,
    onEvent,
    watchesDrivers: () => eventMonitors.length > 0 || journal.hasReaders(),
    staysUp: noShutdown,
    onPanic: options.onPanic,
    onReboot: options.onReboot,
    isServed: apiSocket !== undefined || web !== undefined,
  });
  await using served = options.metrics === undefined ? undefined : await serveMetricsOn(options.metrics, vmm);
  const metrics = served?.metrics;
  using _debugger = await openDebugger(options.gdb);
  onEvent({ source: 'vmm', event: 'starting' });
  warnWithoutWork(options);
  let isAsked = false;
  onEndSignals(() => {
    isAsked = true;
    // an error is reported when the VMM exits, below
    vmm.shutdown().catch(() => undefined);
  });
  await using _server = await serveVmm({ vmm, journal, onRequest: metrics?.onRequest }, options);
  using _held = options.vm === undefined && options.restore === undefined ? undefined : holdEventLoop();
  try {
    await startFromCommandLine(vmm, options).catch((error: unknown) => {
      // a start that a signal aborts has not failed
      if (!isAsked) throw error;
    });
    const { problem } = await vmm.ended;
    if (problem !== undefined) throw new ExitError(problem);
  } finally {
    await vmm.shutdown().catch((error: unknown) => log.error(errorChain(error).join(': ')));
  }
}

/** Keeps the event loop of a VMM without API socket running while its VM is shut down (`--no-shutdown`). */
function holdEventLoop(): Disposable {
  const timer = setInterval(() => undefined, 2 ** 30);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function warnWithoutWork({ apiSocket, web, vm, restore, idleFlags, ignoredFlags }: DaemonOptions): void {
  for (const name of ignoredFlags) log.warn(`--${name} is ignored`);
  if (idleFlags.length > 0) {
    const names = idleFlags.map((name) => `--${name}`).join(', ');
    log.warn(`${names}: ignored, because a VM boots from the command line only with --kernel or --firmware`);
  }
  if ([apiSocket, web, vm, restore].some((one) => one !== undefined)) return;
  log.warn('neither --api-socket nor --kernel was given: there is nothing to do (see --help)');
}

async function startFromCommandLine(vmm: Vmm, { vm, restore }: DaemonOptions): Promise<void> {
  if (vm !== undefined) await bootFromCommandLine(vmm, vm);
  if (restore !== undefined) await restoreFromCommandLine(vmm, restore);
}

/** Opens all monitors, or none. */
function openMonitors(targets: readonly MonitorTarget[]): Promise<EventMonitor> {
  return openEventMonitors(targets).catch((error: unknown) => {
    throw new ExitError(`Error doing event monitor I/O: ${reasonOf(error)}`, { cause: error });
  });
}

async function bootFromCommandLine(vmm: Vmm, vm: NonNullable<DaemonOptions['vm']>): Promise<void> {
  for (const warning of vm.warnings) log.warn(warning);
  await vmm.handlers['vm.create'](vm.config);
  await vmm.handlers['vm.boot']().catch((error: unknown) => {
    throw new ExitError(`Error booting VM: ${errorChain(error).join(': ')}`, { cause: error });
  });
}

async function restoreFromCommandLine(
  vmm: Vmm,
  { request, warnings }: NonNullable<DaemonOptions['restore']>,
): Promise<void> {
  for (const warning of warnings) log.warn(warning);
  await vmm.handlers['vm.restore'](request).catch((error: unknown) => {
    throw new ExitError(`Error restoring VM: ${errorChain(error).join(': ')}`, { cause: error });
  });
}

async function openDebugger(path: string | undefined): Promise<Disposable | undefined> {
  if (path === undefined) return undefined;
  const { openDebuggerSocket } = await import('./vm/launch/debugger.ts');
  return openDebuggerSocket(path).catch((error: unknown) => {
    throw new ExitError(`Failed to serve --gdb: ${reasonOf(error)}`, { cause: error });
  });
}

/** Serves metrics on a UNIX socket. Their code is loaded on first use. */
async function serveMetricsOn(
  path: string,
  vmm: Vmm,
): Promise<AsyncDisposable & { readonly metrics: Metrics }> {
  const { createMetrics } = await import('./vm/observe/metrics.ts');
  const { serveMetrics } = await import('./http/metrics-server.ts');
  const metrics = createMetrics(OWN_VERSION, () => vmm.vm);
  try {
    const server = await serveMetrics(path, metrics);
    return { metrics, [Symbol.asyncDispose]: () => Promise.resolve(server[Symbol.asyncDispose]()) };
  } catch (error) {
    throw new ExitError(`Failed to serve --metrics: ${errorChain(error).join(': ')}`, { cause: error });
  }
}

const LEVELS: readonly LogLevel[] = ['warn', 'info', 'debug', 'trace'];

async function openLog(verbosity: number, path: string | undefined): Promise<Disposable> {
  const level = LEVELS[Math.min(verbosity, LEVELS.length - 1)] ?? 'warn';
  const file = path === undefined ? undefined : await openLogFile(path);
  // a log that cannot be written (a full disk, a closed pipe, a stopped terminal) must not end the guest
  const output = createLineOutput(file?.fd ?? STDERR, droppedLines, {
    release: () => closeInBackground(file),
  });
  configureLog({ level, write: output.write, isTerminal: file === undefined && isatty(STDERR) });
  process.on('uncaughtException', (error) => {
    log.error(`unexpected: ${error.stack ?? error.message}`);
    exitOrAbort(1);
  });
  return { [Symbol.dispose]: output.close };
}

function droppedLines(count: number): string {
  return `cloud-hypervisor: ${count} lines of the log were dropped: its reader did not keep up\n`;
}

async function openLogFile(path: string): Promise<FileHandle> {
  try {
    return await openFile(path, { flags: OUTPUT_FLAGS, mode: 0o600, kinds: OUTPUT_KINDS });
  } catch (error) {
    throw new ExitError(`Error creating log file: ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Writes a line to a standard stream without waiting for its reader. */
function print(text: string, fd = STDOUT): void {
  const output = createOutput(fd);
  output.write(Buffer.from(`${text}\n`));
  output.close();
}

/** Time for which the exit waits for outputs that are not read, in milliseconds. */
const EXIT_OUTPUT_MS = 1000;

/** Exits. Open streams (standard input, a console's reader) do not delay the exit. */
async function exit(code: number): Promise<void> {
  await flushOutputs(EXIT_OUTPUT_MS);
  await exitWith(code);
}

/** Ends the process, at once if the outputs cannot be flushed. */
function exitOrAbort(code: number): void {
  exit(code).catch(() => process.exit(code));
}

// one thread of libuv waits for input of the API socket, three may hang in file systems: four are left
process.env['UV_THREADPOOL_SIZE'] ??= '8';

/** Returns the hint of a usage error as a sentence: the expected or the intended word. */
function hintOf({ hint }: UsageError): string {
  return hint === undefined ? '' : `  ${hint.replace(/[^?.]$/, '$&.')} `;
}

main(process.argv.slice(2))
  .then(
    () => 0,
    (error: unknown) => {
      const message = clip(error instanceof Error ? error.message : String(error));
      const help = error instanceof UsageError ? `\n${hintOf(error)}For more information try --help` : '';
      // one write: of two, the second may be written first
      print(`${message}${help}`, STDERR);
      if (error instanceof UsageError) return error instanceof OptionError ? 1 : USAGE_EXIT;
      if (!(error instanceof ExitError)) log.debug(error instanceof Error ? (error.stack ?? '') : '');
      return 1;
    },
  )
  .then(exitOrAbort)
  .catch(() => process.exit(1));
