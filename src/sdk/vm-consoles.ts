import type { ReplyBody } from './client.ts';
import { openConsole, type Console } from './console.ts';

/** Names of the consoles. */
const NAMES = ['serial', 'console'] as const;
type ConsoleName = (typeof NAMES)[number];

/** Consoles of a VM that are PTYs, each opened once. */
export interface VmConsoles {
  /** Takes their paths from the configuration */
  readonly set: (config: ReplyBody<'vm.info'>['config']) => void;
  /** Opens all, so that output is kept from the start */
  readonly openAll: () => void;
  /** Opens one on first use. @throws if its mode is not `Pty` */
  readonly get: (name: ConsoleName) => Console;
  readonly close: () => void;
}

/** Creates consoles without paths. */
export function createVmConsoles(): VmConsoles {
  const paths = new Map<ConsoleName, string>();
  const open = new Map<ConsoleName, Console>();
  const openAt = (name: ConsoleName, path: string): Console => {
    const console = open.get(name) ?? openConsole(path);
    open.set(name, console);
    return console;
  };
  return {
    set: (config) => {
      for (const name of NAMES) {
        const { mode, file } = config[name];
        if (mode === 'Pty' && file !== undefined) paths.set(name, file);
      }
    },
    openAll: () => {
      for (const [name, path] of paths) openAt(name, path);
    },
    get: (name) => {
      const path = paths.get(name);
      if (path === undefined) throw new Error(`the VM's ${name} is no PTY: set ${name}.mode to 'Pty'`);
      return openAt(name, path);
    },
    close: () => {
      for (const { stream } of open.values()) stream.destroy();
    },
  };
}
