import { buffer } from 'node:stream/consumers';

import { runRemote } from './remote-run.ts';

/** The entry of `ch-remote`. */
async function main(): Promise<void> {
  // A reader that has seen enough (`ch-remote info | head -1`) is no failure.
  process.stdout.on('error', () => {});
  const { stdout, stderr, code } = await runRemote(process.argv.slice(2), () => buffer(process.stdin));
  process.exitCode = code;
  if (stdout !== '') process.stdout.write(stdout);
  if (stderr !== '') process.stderr.write(stderr);
}

void main();
