import type { ReplyBody } from './client.ts';
import { connectConsole } from './console-stream.ts';
import { consoleOn, openConsole, type Console } from './console.ts';

/** Names of the consoles. */
const NAMES = ['serial', 'console'] as const;
type ConsoleName = (typeof NAMES)[number];

/** Consoles of a VM, each opened once. A PTY is opened as a file; the VMM serves the other modes (vm.console). */
export interface VmConsoles {
  /** Takes their modes and paths from the configuration */
  readonly set: (config: ReplyBody<'vm.info'>['config']) => void;
  /** Opens all PTYs, so that output is kept from the start; the VMM keeps that of the other modes */
  readonly openAll: () => void;
  /** Opens one on first use. @throws if its mode is `Off` */
  readonly get: (name: ConsoleName) => Console;
  readonly close: () => void;
}

/** Creates consoles without a configuration, of the VM of the VMM that serves the socket. */
export function createVmConsoles(socketPath: string): VmConsoles {
  const paths = new Map<ConsoleName, string>();
  const served = new Set<ConsoleName>();
  const open = new Map<ConsoleName, Console>();
  const openOnce = (name: ConsoleName, make: () => Console): Console => {
    const console = open.get(name) ?? make();
    open.set(name, console);
    return console;
  };
  const openPty = (name: ConsoleName, path: string): Console => openOnce(name, () => openConsole(path));
  return {
    set: (config) => {
      for (const name of NAMES) {
        const { mode, file } = config[name];
        if (mode === 'Pty' && file !== undefined) paths.set(name, file);
        else if (mode !== 'Off') served.add(name);
      }
    },
    openAll: () => {
      for (const [name, path] of paths) openPty(name, path);
    },
    get: (name) => {
      const path = paths.get(name);
      if (path !== undefined) return openPty(name, path);
      if (!served.has(name))
        throw new Error(`the VM's ${name} is no PTY, and its mode is Off: set ${name}.mode to 'Pty'`);
      return openOnce(name, () => openServed(socketPath, name));
    },
    close: () => {
      for (const { stream } of open.values()) stream.destroy();
    },
  };
}

function openServed(socketPath: string, device: ConsoleName): Console {
  const { stream, opened } = connectConsole({ socketPath, device });
  // the stream is destroyed with the reason, which rejects pending waits
  stream.on('error', () => undefined);
  opened.catch(() => undefined);
  return consoleOn(stream);
}
