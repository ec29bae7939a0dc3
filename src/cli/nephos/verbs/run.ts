import type { RunExit } from '../../../run/owner/command-exit.ts';
import { runFromPool } from '../../../run/pool/run-from-pool.ts';
import type { RunRequest } from '../../../run/run-request.ts';
import { ownCommand } from '../../../util/own-program.ts';
import { clip } from '../../../util/clip.ts';
import { readRunRequest } from '../read-run.ts';
import type { CommandLine } from '../verb.ts';

/** Runs an image. @returns the exit code of the command */
export async function run(line: CommandLine): Promise<number> {
  const request = await readRunRequest(line);
  if (request.isDetached) return runInBackground(request);
  const exit = await runFromPool(request);
  if (exit !== undefined) return report(exit);
  // a run in a pool does without these modules, which take 15 ms to load
  const { runWithProgress } = await import('../run-with-progress.ts');
  return report(await runWithProgress(request));
}

/** Runs a request in an owner process, and prints the name of its VM. @returns the exit code */
export async function runInBackground(request: RunRequest): Promise<number> {
  const { detachWithProgress } = await import('../run-with-progress.ts');
  const result = await detachWithProgress(request, [...ownCommand(), 'own']);
  if (!('name' in result)) return report(result);
  process.stdout.write(`${result.name}\n`);
  return 0;
}

function report({ code, reason }: RunExit): number {
  if (reason !== undefined) process.stderr.write(`nephos: ${clip(reason)}\n`);
  return code;
}
