import { isatty } from 'node:tty';
import { createOutput, type Output } from '../../native/output.ts';
import { HOLD_BYTES, MOST_BYTES, RESUME_BYTES, type HostConsole } from './host-console.ts';

const STDIN = 0;
const STDOUT = 1;

/** One output for the process: unread output of a VM is written before that of the next VM. */
let stdout: Output | undefined;

/**
 * Takes the VMM's own standard input and output as a console: raw mode where standard input is a terminal, until `dispose`
 * restores its settings. Node restores them at every exit too. Input that is no terminal is not read, as in Cloud Hypervisor; nor
 * is that of a console that shares the terminal with the one that `takesInput`.
 */
export function openTerminal({ takesInput = true } = {}): HostConsole {
  stdout ??= createOutput(STDOUT);
  const output = stdout;
  const input = takesInput && isatty(STDIN) ? openInput() : undefined;
  return {
    write: (bytes) => {
      output.write(bytes);
      output.dropBeyond(MOST_BYTES);
      return output.queued() <= HOLD_BYTES;
    },
    onDrain: (resume) => output.onDrain(RESUME_BYTES, resume),
    onInput: (take) => input?.onInput(take),
    pauseInput: () => input?.pause(),
    resumeInput: () => input?.resume(),
    dispose: () => input?.dispose(),
  };
}

interface Input {
  readonly onInput: HostConsole['onInput'];
  readonly pause: () => void;
  readonly resume: () => void;
  readonly dispose: () => void;
}

function openInput(): Input {
  const { stdin } = process;
  let take: (bytes: Buffer) => void = () => undefined;
  const onData = (bytes: Buffer): void => take(bytes);
  const onError = (): void => undefined;
  stdin.setRawMode(true);
  stdin.on('data', onData);
  // a VM keeps running when its terminal is closed
  stdin.on('error', onError);
  stdin.pause();
  return {
    onInput: (next) => {
      take = next;
      stdin.resume();
    },
    pause: () => void stdin.pause(),
    resume: () => void stdin.resume(),
    dispose: () => {
      stdin.off('data', onData);
      stdin.setRawMode(false);
      stdin.pause();
      stdin.off('error', onError);
    },
  };
}
