import { defaulted, struct, type ValueOf } from '../../schema/field.ts';
import { uint } from '../../schema/kinds.ts';
import { CONSOLE_WORDS, consoleFile, consoleMode } from '../console/config.ts';

/** I/O port of the debug console of Bochs and QEMU, which firmware writes to. */
export const DEBUG_PORT = 0xe9;

/** A port that takes one byte with each write, for messages of firmware and early kernels. */
export interface DebugConsoleConfig extends ValueOf<typeof DebugConsoleConfig> {}
export const DebugConsoleConfig = struct({
  name: 'DebugConsoleConfig',
  doc: 'A debug port of the guest, which takes a byte with each write: for firmware and early kernels',
  keyHints: CONSOLE_WORDS,
  fields: {
    file: consoleFile(),
    mode: consoleMode(['Off', 'Pty', 'Tty', 'File', 'Null']),
    iobase: defaulted(
      { ...uint('Number of the I/O port', { bits: 16 }), read: readHex, syntax: '<port in hex>' },
      DEBUG_PORT,
    ),
  },
});

function readHex(text: string): number {
  if (!/^(0x)?[0-9a-f]{1,4}$/i.test(text)) throw new Error('expected a port in hex');
  return Number.parseInt(text, 16);
}
