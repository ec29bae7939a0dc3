import { clip } from '../util/clip.ts';
import { readAtMost } from '../util/read-at-most.ts';
import { BODY_READ_MAX, runRemote } from './remote-run.ts';

/** Longest error in characters. */
const MOST = 16_384;

/** The entry of `ch-remote`. */
async function main(): Promise<void> {
  // A reader that has seen enough (`ch-remote info | head -1`) is no failure.
  process.stdout.on('error', () => {});
  const { stdout, stderr, code } = await runRemote(process.argv.slice(2), () =>
    readAtMost(process.stdin, BODY_READ_MAX),
  );
  process.exitCode = code;
  if (stdout !== '') process.stdout.write(stdout);
  // an argument of any length is part of what is said about it
  if (stderr !== '') process.stderr.write(stderr.length > MOST ? `${clip(stderr, MOST)}\n` : stderr);
}

void main();
