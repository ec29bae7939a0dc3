import { runDetached } from '../../../run/owner/detached.ts';
import { runForeground } from '../../../run/owner/foreground.ts';
import type { RunExit } from '../../../run/owner/command-exit.ts';
import { defaultParts } from '../../../run/owner/parts.ts';
import type { VmRecord } from '../../../run/record.ts';
import type { RunRequest } from '../../../run/run-request.ts';
import { clip } from '../../../util/clip.ts';
import { readRunRequest } from '../read-run.ts';
import { createProgress } from '../run-progress.ts';
import type { CommandLine } from '../verb.ts';

/** Runs an image. @returns the exit code of the command */
export async function run(line: CommandLine): Promise<number> {
  const request = await readRunRequest(line);
  return request.isDetached ? runInBackground(request) : runHere(request);
}

async function runHere(request: RunRequest): Promise<number> {
  using progress = createProgress();
  const exit = await runForeground(request, defaultParts(), {
    onProgress: progress.show,
    onStarted: (record) => {
      progress.clear();
      if (process.stderr.isTTY) for (const text of portLines(record)) process.stderr.write(`${text}\r\n`);
    },
  });
  return report(exit);
}

/** Runs a request in an owner process, and prints the name of its VM. @returns the exit code */
export async function runInBackground(request: RunRequest): Promise<number> {
  using progress = createProgress();
  const script = process.argv[1];
  const program = [process.execPath, ...process.execArgv, ...(script === undefined ? [] : [script]), 'own'];
  const [first = '', ...rest] = program;
  const result = await runDetached(request, [first, ...rest], progress.show);
  progress.clear();
  if (!('name' in result)) return report(result);
  process.stdout.write(`${result.name}\n`);
  if (process.stderr.isTTY) for (const text of portLines(result)) process.stderr.write(`${text}\n`);
  return 0;
}

/** Ports whose number the host chose. */
function portLines({ ports, request }: VmRecord): string[] {
  return ports
    .filter((_, i) => request.ports[i]?.hostPort === 0)
    .map(
      ({ address, hostPort, guestPort, protocol }) =>
        `${guestPort}/${protocol} of the guest is ${address}:${hostPort}`,
    );
}

function report({ code, reason }: RunExit): number {
  if (reason !== undefined) process.stderr.write(`nephos: ${clip(reason)}\n`);
  return code;
}
