import { connectGuest } from '../guest/connect-guest.ts';
import { GuestError } from '../guest/errors.ts';
import type { Guest, GuestAccess } from '../guest/guest.ts';
import { loadSsh2 } from '../guest/load-ssh2.ts';
import { abortable } from '../util/abortable.ts';
import { inBackground } from '../util/background.ts';
import { reasonOf } from '../util/errno.ts';
import type { CallOptions } from './client.ts';
import { startForward, type Forward, type ForwardOptions } from './forward.ts';
import { connectVsock } from './vsock.ts';

/** Port of the SSH server in the guest. */
const SSH_PORT = 22;

/** Time limit of a connection, in milliseconds: an emulated guest needs seconds for a handshake. */
const CONNECT_MS = 30_000;

/** Way to the SSH server of a guest. */
export interface GuestOptions extends Pick<
  GuestAccess,
  'user' | 'privateKey' | 'render' | 'sftpCommand' | 'maxCommands'
> {
  /** UNIX socket with the protocol of the hybrid vsock (`CONNECT <port>\n`); by default that of the VM's vsock */
  readonly socket?: string;
  /** Port of the SSH server; 22 by default */
  readonly port?: number;
}

/** The connection to a guest: made on first use, shared by all calls, and made again when it has ended. */
export interface GuestLink extends AsyncDisposable {
  readonly connect: (options?: CallOptions) => Promise<Guest>;
  /** Returns whether a connection is open, or being made */
  readonly isOpen: () => boolean;
  readonly forward: (hostPort: number, guestPort: number, options?: ForwardOptions) => Promise<Forward>;
}

/** Creates a link. `vsockPath` returns the socket of the VM's vsock. */
export function createGuestLink(options: GuestOptions, vsockPath: () => string | undefined): GuestLink {
  const forwards = new Set<Forward>();
  let open: Promise<Guest> | undefined;
  const disposal = new AbortController();
  const connect = (): Promise<Guest> => {
    if (disposal.signal.aborted)
      return Promise.reject(new GuestError('closed', 'the VM has been disposed of'));
    if (open !== undefined) return open;
    const opening = openGuest(options, vsockPath(), disposal.signal);
    open = opening;
    const forget = (): void => {
      if (open === opening) open = undefined;
    };
    // before the continuations of the caller that waits for the end
    opening.then((guest) => guest.closed.then(forget)).catch(forget);
    return opening;
  };
  const limited = async ({ signal, timeoutMs }: CallOptions = {}): Promise<Guest> => {
    const signals = [signal, timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)];
    const any = AbortSignal.any(signals.filter((one) => one !== undefined));
    return abortable(any, connect()).catch((error: unknown) => {
      if (!any.aborted) throw error;
      const fault = signal?.aborted === true ? 'aborted' : 'timeout';
      throw new GuestError(fault, `the connection to the guest: ${fault}`, { cause: error });
    });
  };
  return {
    connect: limited,
    isOpen: () => open !== undefined,
    forward: async (hostPort, guestPort, forwardOptions = {}) => {
      const forward = await startForward(
        async () => (await connect()).connectTcp(guestPort),
        hostPort,
        forwardOptions,
      );
      forwards.add(forward);
      return forward;
    },
    [Symbol.asyncDispose]: async () => {
      disposal.abort();
      for (const forward of forwards) await forward[Symbol.asyncDispose]();
      await open?.then((guest) => guest[Symbol.asyncDispose]()).catch(() => undefined);
    },
  };
}

/** Loads the SSH client while a VM starts. */
export function prepareGuestLink(): void {
  inBackground('the SSH client', loadSsh2());
}

async function openGuest(
  { socket, port = SSH_PORT, ...access }: GuestOptions,
  vsockPath: string | undefined,
  signal: AbortSignal,
): Promise<Guest> {
  const path = socket ?? vsockPath;
  if (path === undefined) {
    throw new GuestError(
      'connect',
      'the VM has no vsock, and the option `guest.socket` names no other way to its SSH server',
    );
  }
  const deadline = performance.now() + CONNECT_MS;
  const stream = await connectVsock(path, port, { signal, timeoutMs: CONNECT_MS }).catch((error: unknown) => {
    throw new GuestError('connect', `no connection to the SSH server of the guest: ${reasonOf(error)}`, {
      cause: error,
    });
  });
  return connectGuest({ ...access, stream, signal, timeoutMs: Math.max(1, deadline - performance.now()) });
}
