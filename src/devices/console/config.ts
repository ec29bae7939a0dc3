import { beyond, defaulted, formed, optional, struct, type ValueOf, type Words } from '../../schema/field.ts';
import { choice, flag, path, socketPath } from '../../schema/kinds.ts';
import { WordError } from '../../schema/option-string.ts';
import { pciDeviceId } from '../common/pci.ts';

/** Where the bytes of a console go, in the order in which the command line's words win. */
const FLAGS = ['off', 'pty', 'tty', 'null'] as const;
const PATHS = ['file', 'socket'] as const;

/** What is expected where no mode is given. */
const MODES = 'off, pty, tty, null, file=<path> or socket=<path>';

/** What is said where a console is on a socket without a name. */
export const SOCKET_MISSING = 'Path missing when using socket console mode';
/** The same of a file. */
export const FILE_MISSING = 'Path missing when using file console mode';

/** As other programs call the modes. */
export const CONSOLE_WORDS = {
  disabled: 'off',
  none: 'off',
  path: 'file',
  stdio: 'tty',
  stdout: 'tty',
  terminal: 'tty',
  unix: 'socket',
} as const;

/** A console of the guest: the serial port (ttyS0) or the virtio console (hvc0). */
export interface ConsoleConfig extends ValueOf<typeof ConsoleConfig> {}
export const ConsoleConfig = struct({
  name: 'ConsoleConfig',
  doc: 'A console of the guest: nowhere, a new PTY, our terminal, a file, a UNIX socket, or swallowed',
  wordsIgnored: ['id', 'pci_segment'],
  wordsMeant: CONSOLE_WORDS,
  fields: {
    file: consoleFile(),
    socket: beyond(
      formed(
        { keys: ['socket'], syntax: '', read: (words) => readPath(words, 'socket') },
        optional(socketPath('UNIX socket that we listen on in mode Socket, for one client at a time')),
      ),
    ),
    mode: consoleMode(['Off', 'Pty', 'Tty', 'File', 'Null', 'Socket']),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    pci_device_id: pciDeviceId(),
  },
});

/** A console's file, by the word `file`. */
export function consoleFile() {
  return formed(
    { keys: ['file'], syntax: '', read: (words: Words) => readPath(words, 'file') },
    optional(path('File that gets the output in mode File; the PTY in answers in mode Pty')),
  );
}

/** Where a console's bytes go; on the command line each mode is a word. */
export function consoleMode<const M extends 'Off' | 'Pty' | 'Tty' | 'File' | 'Null' | 'Socket'>(
  modes: readonly M[],
) {
  const socket = modes.some((mode) => mode === 'Socket') ? '|socket=<path>' : '';
  return formed(
    { keys: [], flags: FLAGS, syntax: `off|pty|tty|null|file=<path>${socket}`, read: readMode },
    choice('Where the bytes go', modes, { beyond: ['Socket'] }),
  );
}

function readMode(words: Words): string {
  const mode = [...FLAGS, ...PATHS].find((word) => words.has(word));
  if (mode === undefined) throw new WordError('invalid console mode given', { hint: `expected ${MODES}` });
  return `${mode.charAt(0).toUpperCase()}${mode.slice(1)}`;
}

/** The path that goes with a mode, where no word before it has won: then nothing is made of it. */
function readPath(words: Words, mode: 'file' | 'socket'): string | undefined {
  const wins = [...FLAGS, ...PATHS].find((word) => words.has(word));
  if (wins !== mode) return undefined;
  const found = words.text(mode);
  if (found === undefined) {
    throw new WordError(mode === 'file' ? FILE_MISSING : SOCKET_MISSING, { validation: true });
  }
  return found;
}
