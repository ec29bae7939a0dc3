import { clip } from '../util/clip.ts';
import { readAtMost } from '../util/read-at-most.ts';
import { BODY_READ_MAX, runRemote } from './remote-run.ts';

/** Maximum length of an error, in characters. */
const MOST = 16_384;

/** Runs `ch-remote`. */
async function main(): Promise<void> {
  // a reader that closes early (`ch-remote info | head -1`) is not an error
  process.stdout.on('error', () => {});
  const { stdout, stderr, code } = await runRemote(process.argv.slice(2), () =>
    readAtMost(process.stdin, BODY_READ_MAX),
  );
  process.exitCode = code;
  if (stdout !== '') process.stdout.write(stdout);
  // an error may quote an argument of any length
  if (stderr !== '') process.stderr.write(stderr.length > MOST ? `${clip(stderr, MOST)}\n` : stderr);
}

main().catch((error: unknown) => {
  process.exitCode = 1;
  process.stderr.write(`${String(error)}\n`);
});
