import { setTimeout as delay } from 'node:timers/promises';
import type { ClientChannel } from 'ssh2';
import { requestCommand, type Connection } from './connection.ts';
import { GuestError } from './errors.ts';
import { renderScript } from './render-command.ts';

/** Runs a script of this program in the guest, beside the bound of commands. Its output is discarded. @returns its exit code */
export async function runControl(connection: Connection, script: string): Promise<number | null> {
  const text = renderScript(script);
  const code = await requestCommand(connection, { text, attach: codeOf }).then((pending) => pending.code);
  const failed = connection.failure();
  if (failed !== undefined) throw failed;
  return code;
}

/** Returns the exit code in an object, because the session is open before the command has exited. */
function codeOf(channel: ClientChannel): { readonly code: Promise<number | null> } {
  const code = new Promise<number | null>((resolve) => {
    let status: number | null = null;
    channel.on('exit', (value: number | null) => (status = value));
    channel.once('close', () => resolve(status));
  });
  channel.resume();
  channel.stderr.resume();
  channel.end();
  return { code };
}

/** Waits for work in the guest that follows an abort. The connection is closed where it takes longer than the limit. */
export async function endWithin(
  connection: Connection,
  milliseconds: number,
  work: Promise<unknown>,
): Promise<void> {
  const timer = new AbortController();
  const late = delay(milliseconds, undefined, { signal: timer.signal }).then(
    () =>
      connection.destroy(
        new GuestError('timeout', `the guest did not end a command within ${milliseconds} ms`),
      ),
    () => undefined,
  );
  await Promise.race([work.catch(() => connection.destroy()), late]);
  timer.abort();
}
