import { clip } from '../util/clip.ts';
import { readAtMost } from '../util/read-at-most.ts';
import { reportOutputErrors } from './output-errors.ts';
import { BODY_READ_MAX, runRemote } from './remote-run.ts';

/** Maximum length of an error, in characters. */
const MOST = 16_384;

/** Runs `ch-remote`. */
async function main(): Promise<void> {
  reportOutputErrors('Error running command: ');
  const { stdout, stderr, code } = await runRemote(
    process.argv.slice(2),
    () => readAtMost(process.stdin, BODY_READ_MAX),
    writeOutput,
  );
  process.exitCode = code;
  if (stdout !== '') process.stdout.write(stdout);
  // an error may quote an argument of any length
  if (stderr !== '') process.stderr.write(stderr.length > MOST ? `${clip(stderr, MOST)}\n` : stderr);
}

/** Waits until the output is written, so that a slow reader slows the command down. @returns false where it has no reader */
function writeOutput(text: string): Promise<boolean> {
  return new Promise((resolve) => {
    process.stdout.write(text, (error) => resolve(error === null || error === undefined));
  });
}

main().catch((error: unknown) => {
  process.exitCode = 1;
  process.stderr.write(`${String(error)}\n`);
});
