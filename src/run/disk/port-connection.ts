import type { ConnectGuest, Guest } from '../../guest/guest.ts';
import type { CleanupStack } from '../../util/cleanup-stack.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { openServerStream } from '../owner/start-guest.ts';
import { startRecording, type RecordedConnection } from '../warm/recorded-connection.ts';
import { START_PORT_SERVER } from './ssh-server.ts';

/*
 * SSH connection of a warm snapshot, on a virtio-serial port: a restored guest continues it without a handshake, which takes most of a
 * second under emulation, and several on a busy host.
 */

const log = createLog('disk');

/** Time limit of the connection, in milliseconds: two seconds on a quiet host. */
const CONNECT_MS = 120_000;

/** A booted guest whose connection is to be recorded. */
export interface BootedGuest {
  /** Connection over vsock, which is ended */
  readonly guest: Guest;
  /** Socket of the port */
  readonly socketPath: string;
  readonly privateKey: string;
  readonly connect: ConnectGuest;
}

/**
 * Starts an SSH server on the port of a guest, and logs in. `stack` gets the connection, which must be open when the snapshot is taken.
 * @returns undefined for a guest in which that is impossible; its restores connect over vsock
 */
export async function recordPortConnection(
  { guest, socketPath, privateKey, connect }: BootedGuest,
  stack: CleanupStack,
  signal: AbortSignal,
): Promise<RecordedConnection | undefined> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)]);
  try {
    const { exitCode, stderr } = await guest.exec(START_PORT_SERVER, { signal: limit });
    if (exitCode !== 0) throw new Error(stderr.trim());
    await guest[Symbol.asyncDispose]();
    const stream = await openServerStream(socketPath, limit);
    const recording = startRecording(stream);
    const { seed } = recording;
    stack.use(await connect({ stream, seed, privateKey, signal: limit, timeoutMs: CONNECT_MS }));
    return recording.finish();
  } catch (error) {
    signal.throwIfAborted();
    log.info(`warm starts connect over vsock: ${reasonOf(error)}`);
    return undefined;
  }
}
