import type { RunExit } from '../../run/owner/command-exit.ts';
import { runDetached } from '../../run/owner/detached.ts';
import { runForeground } from '../../run/owner/foreground.ts';
import { defaultParts } from '../../run/owner/parts.ts';
import type { VmRecord } from '../../run/record.ts';
import type { RunRequest } from '../../run/run-request.ts';
import { createProgress } from './run-progress.ts';

/** Runs a request in this process. Progress and the chosen ports are shown on a terminal. */
export async function runWithProgress(request: RunRequest): Promise<RunExit> {
  using progress = createProgress();
  return await runForeground(request, defaultParts(), {
    onProgress: progress.show,
    onStarted: (record) => {
      progress.clear();
      showPorts(record, '\r\n');
    },
  });
}

/** Starts the owner process of a request, by the command line of this program. */
export async function detachWithProgress(
  request: RunRequest,
  command: readonly [string, ...string[]],
): Promise<VmRecord | RunExit> {
  using progress = createProgress();
  const result = await runDetached(request, command, progress.show);
  progress.clear();
  if ('name' in result) showPorts(result, '\n');
  return result;
}

function showPorts(record: VmRecord, lineEnd: string): void {
  if (process.stderr.isTTY) for (const text of portLines(record)) process.stderr.write(`${text}${lineEnd}`);
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
