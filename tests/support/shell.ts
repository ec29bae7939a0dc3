import { randomBytes } from 'node:crypto';
import { constants, openSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import assert from 'node:assert/strict';
import { until } from './wait.ts';
import type { TestVmm } from './vmm.ts';

/** A guest's terminal: what it showed, and a way to type. */
export interface Shell {
  readonly shown: () => string;
  readonly type: (text: string) => void;
  /** Waits until the guest shows a text, counted from the start of the session. */
  readonly sees: (text: string) => Promise<void>;
  /** Logs in as root. */
  readonly login: () => Promise<void>;
  /** Runs a command and returns what it printed, without the last newline; `patience` in milliseconds. */
  readonly run: (command: string, patience?: number) => Promise<string>;
  readonly [Symbol.dispose]: () => void;
}

/** A line to a guest: what goes in, what comes out. */
export interface Line {
  readonly write: (text: string) => void;
  readonly onData: (take: (bytes: Buffer) => void) => void;
  readonly close: () => void;
}

/** Opens a PTY, as a user would with a terminal program. */
export function openShell(path: string): Shell {
  const stream = new ReadStream(openSync(path, constants.O_RDWR | constants.O_NOCTTY));
  stream.on('error', () => undefined);
  return shellOn({
    write: (text) => void stream.write(text),
    onData: (take) => void stream.on('data', take),
    close: () => void stream.destroy(),
  });
}

/** A guest's terminal at the end of any line. */
export function shellOn(line: Line): Shell {
  let shown = '';
  // a terminal on the way may add carriage returns of its own
  line.onData((bytes) => (shown += bytes.toString('latin1').replaceAll('\r', '')));
  const type = (text: string): void => line.write(text);
  const sees = (text: string): Promise<void> =>
    until(
      `the guest shows ${text}`,
      () => shown.includes(text),
      () => shown,
    );
  const run = async (command: string, patience?: number): Promise<string> => {
    const mark = randomBytes(6).toString('hex');
    const [begin, end] = [`${mark}-begin\n`, `${mark}-end\n`];
    const from = shown.length;
    // the prompt of the command before may come late: what counts stands between the marks
    type(`echo ${mark}-begin; ${command}; echo ${mark}-end\r`);
    const answered = (): number => shown.indexOf(end, from);
    await until(
      `the guest answers ${command}`,
      () => answered() >= 0,
      () => shown.slice(from),
      patience,
    );
    const begun = shown.indexOf(begin, from);
    if (begun < 0)
      throw new Error(`the answer to ${command} has no begin: ${JSON.stringify(shown.slice(from))}`);
    return shown.slice(begun + begin.length, answered()).trimEnd();
  };
  return {
    shown: () => shown,
    type,
    sees,
    run,
    login: async () => {
      const from = shown.length;
      await until(
        'the guest asks for a login',
        () => shown.includes('login:', from),
        () => shown,
      );
      const asked = shown.length;
      type('root\r');
      await until(
        'the guest shows a prompt',
        () => shown.includes('# ', asked),
        () => shown,
      );
      // from here on what is typed is not shown, and each answer stands alone; getty leaves CR as it is when it
      // saw the name end otherwise, and without an echo the shell has nothing but the line's settings
      // a message of the kernel's, e.g. of added memory, would come in the middle of an answer: only those of a panic are shown
      type('stty sane -echo; dmesg -n 1; echo quiet""-now\r');
      await until(
        'the echo is off',
        () => /^quiet-now\n.*# /ms.test(shown.slice(asked)),
        () => shown,
      );
    },
    [Symbol.dispose]: () => line.close(),
  };
}

/** The path of a running VM's PTY, from vm.info. */
export async function ptyOf(vmm: TestVmm, which: 'serial' | 'console' = 'serial'): Promise<string> {
  const { json } = await vmm.get('vm.info');
  const path = (json as { config?: Record<string, { file?: string }> }).config?.[which]?.file;
  assert.ok(path !== undefined, `vm.info shows no PTY for ${which}: ${JSON.stringify(json)}`);
  return path;
}
