import { readRunRequest } from '../read-run.ts';
import { VerbError, type CommandLine } from '../verb.ts';

/** Runs an image. @returns the exit code of the command */
export async function run(line: CommandLine): Promise<number> {
  const request = await readRunRequest(line);
  throw new VerbError(`nephos run ${request.image ?? ''}: not built yet`);
}
