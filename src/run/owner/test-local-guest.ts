import { spawn, type ChildProcess } from 'node:child_process';
import { PassThrough, Readable } from 'node:stream';
import type { Guest, GuestExit } from '../../guest/guest.ts';
import { Client } from '../../sdk/client.ts';
import type { VmmEnd } from '../../sdk/vmm-process.ts';
import { deferred } from '../../util/deferred.ts';
import type { GuestTools } from '../guest-tools/guest-tools.ts';
import type { RunParts } from './parts.ts';

const NO_MODULES = { base: [], network: [], volumes: [], vsock: [], panic: [], isolation: [] };

const TOOLS: GuestTools = {
  kernel: '/kernel',
  initramfs: '/initramfs',
  release: '6.1',
  fingerprint: 'f',
  modules: NO_MODULES,
  applets: [],
};

/** Parts of a run whose guest is this host: each command is a local process. The test ends its VMM. */
export function localParts(
  changes: Partial<RunParts> = {},
): RunParts & { readonly endVmm: (end: VmmEnd) => void } {
  const ended = deferred<VmmEnd>();
  let isDisposed = false;
  const vmm = {
    pid: 1,
    client: new Client('/nonexistent'),
    events: new PassThrough(),
    ended: ended.promise,
    isDisposed: () => isDisposed,
    [Symbol.asyncDispose]: async () => {
      isDisposed = true;
      ended.resolve({ code: 0, signal: null });
    },
  };
  return {
    endVmm: ended.resolve,
    openImage: async (name) => ({ kind: 'directory', name, path: '/' }),
    openTools: async () => TOOLS,
    connect: async () => localGuest(),
    start: async (plan, { connect, onVmm, signal }) => {
      signal.throwIfAborted();
      onVmm(vmm);
      const guest = await connect({ stream: new PassThrough(), render: plan.render });
      return { vmm, guest, isWarm: false };
    },
    ...changes,
  };
}

function localGuest(): Guest {
  const unused = (): never => {
    throw new Error('not used');
  };
  const processes = new Set<ChildProcess>();
  return {
    spawn: async (argv, options = {}) => {
      // the SSH server of the tools is cat
      const [program = '', ...words] = typeof argv === 'string' ? ['cat'] : argv;
      const child = spawn(program, words, { detached: true, cwd: options.cwd, env: { ...options.env } });
      processes.add(child);
      child.once('close', () => processes.delete(child));
      const exit = new Promise<GuestExit>((resolve) => {
        child.once('error', () => resolve({ exitCode: 127, signal: null }));
        child.once('close', (exitCode, signal) =>
          resolve({ exitCode, signal: signal?.replace(/^SIG/, '') ?? null }),
        );
      });
      return {
        stdin: child.stdin,
        stdout: child.stdout,
        stderr: options.pty === undefined ? child.stderr : Readable.from([]),
        exited: exit,
        kill: async (name = 'TERM') => void process.kill(-(child.pid ?? 0), `SIG${name}`),
        resize: () => undefined,
      };
    },
    // the refresh of the guest
    exec: async () => ({ exitCode: 0, signal: null, stdout: '', stderr: '' }),
    shell: unused,
    upload: unused,
    kindOf: unused,
    uploadArchive: unused,
    downloadArchive: unused,
    download: unused,
    connectTcp: unused,
    closed: new Promise(() => undefined),
    // the exit of a VM ends its processes
    [Symbol.asyncDispose]: async () => {
      for (const { pid } of processes) if (pid !== undefined) process.kill(-pid, 'SIGKILL');
    },
  };
}
