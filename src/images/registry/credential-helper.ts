import { spawn } from 'node:child_process';
import * as v from 'valibot';
import { reasonOf } from '../../util/errno.ts';
import { readAtMost } from '../../util/read-at-most.ts';
import type { FoundCredentials } from './credentials.ts';

/** Time limit of a helper in milliseconds: it may ask the user to unlock a key ring. */
const DEADLINE_MS = 60_000;

/** Most bytes that a helper may print. */
const OUTPUT_MAX = 64 * 2 ** 10;

/** User name that stands for a refresh token (protocol of docker-credential-helpers). */
const TOKEN_USER = '<token>';

const replySchema = v.object({ Username: v.string(), Secret: v.string() });

/**
 * Asks the program `docker-credential-<name>` for the credentials of a server. It gets `get` as its only argument and the server on its
 * standard input. Never rejects, except with the reason of the signal.
 */
export async function askCredentialHelper(
  name: string,
  server: string,
  signal?: AbortSignal,
): Promise<FoundCredentials> {
  // a name with a slash would be a path
  if (!/^[\w.-]+$/.test(name))
    return { failure: `${JSON.stringify(name)} is not the name of a credential helper` };
  const program = `docker-credential-${name}`;
  try {
    const { status, output } = await run(program, server, signal);
    // the protocol has this text instead of a status of its own
    if (status !== 0) return /credentials not found/i.test(output) ? {} : { failure: `${program} failed` };
    return decodeReply(program, output);
  } catch (error) {
    signal?.throwIfAborted();
    return { failure: `${program} failed: ${reasonOf(error)}` };
  }
}

async function run(
  program: string,
  server: string,
  signal: AbortSignal | undefined,
): Promise<{ readonly status: number | null; readonly output: string }> {
  const deadline = AbortSignal.timeout(DEADLINE_MS);
  const child = spawn(program, ['get'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
    killSignal: 'SIGKILL',
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  // a helper that does not read its input
  child.stdin.on('error', () => undefined);
  child.stdin.end(server);
  const [output, status] = await Promise.all([readAtMost(child.stdout, OUTPUT_MAX), ended]);
  return { status, output: output.toString('utf8') };
}

function decodeReply(program: string, output: string): FoundCredentials {
  try {
    const result = v.safeParse(replySchema, JSON.parse(output));
    if (!result.success) return { failure: `${program} printed no credentials` };
    const { Username: username, Secret: secret } = result.output;
    if (username === '' && secret === '') return {};
    if (username === TOKEN_USER) return { credentials: { kind: 'token', token: secret } };
    return { credentials: { kind: 'password', username, password: secret } };
  } catch {
    // the message of the parser can have a part of the secret
    return { failure: `${program} printed no JSON` };
  }
}
