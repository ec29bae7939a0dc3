import type { Guest } from '../../../guest/guest.ts';
import { RunError } from '../../../run/errors.ts';
import type { VmRecord } from '../../../run/record.ts';
import { openDescriptorSink } from '../../../run/owner/descriptor-sink.ts';
import { exitWithOutputs } from '../../../run/owner/finish-output.ts';
import { checkTerminal, lendTerminal, terminalSize } from '../../../run/owner/host-terminal.ts';
import { runCommand, type MainCommand } from '../../../run/owner/run-command.ts';
import { takeSignals, type RunSignals } from '../../../run/owner/run-signals.ts';
import { openGuest } from '../open-guest.ts';
import { UsageError } from '../../flags.ts';
import { readTime, readVariables } from '../values.ts';
import type { CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';

/** Runs a command in a VM. @returns its exit code */
export async function run(line: CommandLine): Promise<number> {
  const [name = ''] = line.operands;
  if (line.command.length === 0)
    throw new UsageError(
      'nephos exec: the command is missing',
      'expected nephos exec [OPTIONS] NAME COMMAND',
    );
  const terminal = { hasTerminal: line.has('tty'), isInteractive: line.has('interactive') };
  checkTerminal({ ...terminal, isDetached: false });
  const entry = await findRunningVm(name);
  using signals = takeSignals();
  await using guest = await openGuest(entry, signals.start);
  const { code, reason } = await runOn(guest, commandOf(line, entry.record), { ...terminal, signals });
  if (reason !== undefined) process.stderr.write(`nephos: ${reason}\n`);
  return code;
}

/** Returns the command of a line: variables, directory and user are those of the VM's command where the line has none. */
function commandOf(line: CommandLine, { process: main }: VmRecord): MainCommand {
  const timeout = line.value('timeout');
  const cwd = line.value('workdir') ?? main?.cwd;
  const user = line.value('user') ?? main?.user;
  return {
    argv: line.command,
    options: {
      env: { ...main?.env, ...readVariables(line.values('env')) },
      ...(cwd !== undefined && { cwd }),
      ...(user !== undefined && { user }),
      ...(line.has('tty') && { pty: { ...terminalSize(), term: process.env['TERM'] ?? 'xterm' } }),
    },
    timeoutMs: timeout === undefined ? undefined : readTime('timeout', timeout),
  };
}

interface Surroundings {
  readonly hasTerminal: boolean;
  readonly isInteractive: boolean;
  readonly signals: RunSignals;
}

async function runOn(
  guest: Guest,
  command: MainCommand,
  { hasTerminal, isInteractive, signals }: Surroundings,
): ReturnType<typeof runCommand> {
  const [stdout, stderr] = [openDescriptorSink(1), openDescriptorSink(2)];
  // standard input is opened only if it is used: Node changes the mode of a pipe
  const stdin = isInteractive ? process.stdin : undefined;
  let terminal: Disposable | undefined;
  try {
    const exit = await runCommand(guest, endOf(guest), {
      command,
      streams: { stdin, stdout: [stdout], stderr: [stderr] },
      control: {
        stop: signals.stop,
        onStarted: ({ kill, resize }) => {
          signals.forward(kill);
          if (hasTerminal) terminal = lendTerminal(isInteractive, resize);
          // the end of the connection ends no command
          signals.stop.addEventListener('abort', () => kill('KILL'));
        },
      },
    });
    return await exitWithOutputs(exit, { stdout, stderr }, signals.stop);
  } finally {
    terminal?.[Symbol.dispose]();
    for (const stream of [stdin, stdout, stderr]) stream?.destroy();
  }
}

/** Settles with the reason when the connection has ended: the VM has. */
async function endOf(guest: Guest): Promise<RunError> {
  const error = await guest.closed;
  return new RunError('crashed', error?.message ?? 'the VM has ended');
}
