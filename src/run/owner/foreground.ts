import type { ImageProgress } from '../../images/image.ts';
import type { VmRecord } from '../record.ts';
import type { RunRequest } from '../run-request.ts';
import type { RunExit } from './command-exit.ts';
import { openDescriptorSink } from './descriptor-sink.ts';
import { exitWithOutputs } from './finish-output.ts';
import { checkTerminal } from './host-terminal.ts';
import { ownRun } from './own-run.ts';
import type { RunParts } from './parts.ts';
import { takeSignals } from './run-signals.ts';

/** Messages for the user, on a terminal. */
export interface RunReports {
  readonly onProgress?: (progress: ImageProgress) => void;
  /** Called when the command runs, before its output */
  readonly onStarted: (record: VmRecord) => void;
}

/** Runs a request in the foreground, on the standard streams and the terminal of this process. @throws as `ownRun` */
export async function runForeground(
  request: RunRequest,
  parts: RunParts,
  reports: RunReports,
): Promise<RunExit> {
  checkTerminal(request);
  using signals = takeSignals();
  const [stdout, stderr] = [openDescriptorSink(1), openDescriptorSink(2)];
  // standard input is opened only if it is used: Node changes the mode of a pipe
  const stdin = request.isInteractive ? process.stdin : undefined;
  try {
    const exit = await ownRun(request, parts, { signals, stdin, stdout, stderr, ...reports });
    return await exitWithOutputs(exit, { stdout, stderr }, signals.stop);
  } finally {
    for (const stream of [stdin, stdout, stderr]) stream?.destroy();
  }
}
