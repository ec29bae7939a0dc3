import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { findProgram } from '../../../qemu/process/program.ts';
import { ownProgram, sshSettings } from '../ssh-settings.ts';
import { VerbError, type CommandLine } from '../verb.ts';
import { findRunningVm } from '../vms.ts';

/** Runs the host's ssh. @returns its exit code */
export async function run(line: CommandLine): Promise<number> {
  const entry = await findRunningVm(line.operands[0] ?? '');
  const program = findProgram('ssh');
  if (program === undefined) throw new VerbError('ssh is not on the PATH', 'apt-get install openssh-client');
  const settings = sshSettings(entry, line.value('user') ?? 'root', ownProgram());
  // the user's configuration must not change the connection
  const options = ['-F', 'none', ...settings.flatMap(([keyword, value]) => ['-o', `${keyword}=${value}`])];
  return runProgram(program, [...options, entry.record.name, ...line.command]);
}

/** Runs a program with this process's standard streams. @returns its exit code */
function runProgram(program: string, args: readonly string[]): Promise<number> {
  return new Promise((settle, fail) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    // the terminal signals both; ssh decides
    process.on('SIGINT', () => undefined);
    process.on('SIGTERM', () => void child.kill('SIGTERM'));
    child.once('error', fail);
    child.once('exit', (code, signal) =>
      settle(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}
