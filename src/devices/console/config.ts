import { beyond, defaulted, formed, optional, struct, type ValueOf, type Words } from '../../schema/field.ts';
import { choice, flag, path, socketPath, text } from '../../schema/kinds.ts';
import { OptionStringError } from '../../schema/option-string.ts';
import { pciDeviceId } from '../common/pci.ts';

/** Modes of a console on the command line: of several the first in this order applies. */
const FLAGS = ['off', 'pty', 'tty', 'null'] as const;
const PATHS = ['file', 'socket'] as const;

/** Hint of the error for a console without a mode. */
const MODES = 'off, pty, tty, null, file=<path> or socket=<path>';

/** Error of a console on a socket without a path. */
export const SOCKET_MISSING = 'Path missing when using socket console mode';
/** Error of a console on a file without a path. */
export const FILE_MISSING = 'Path missing when using file console mode';

/** Names of the modes in other programs. */
export const CONSOLE_WORDS = {
  disabled: 'off',
  none: 'off',
  path: 'file',
  stdio: 'tty',
  stdout: 'tty',
  terminal: 'tty',
  unix: 'socket',
} as const;

/** Longest name of a port, in bytes: the kernel of the guest reads it from a page. */
const PORT_NAME_MAX = 128;

/** A console of the guest: the serial port (ttyS0) or the virtio console (hvc0, or a port). */
export interface ConsoleConfig extends ValueOf<typeof ConsoleConfig> {}
export const ConsoleConfig = struct({
  name: 'ConsoleConfig',
  doc: 'A console of the guest: off, on a new PTY, the VMM’s terminal, a file or a UNIX socket, or discarded',
  wordsIgnored: ['id', 'pci_segment'],
  keyHints: CONSOLE_WORDS,
  fields: {
    file: consoleFile(),
    socket: beyond(
      formed(
        { keys: ['socket'], syntax: '', read: (words) => readPath(words, 'socket') },
        optional(socketPath('UNIX socket that the VMM listens on in mode Socket, for one client at a time')),
      ),
    ),
    mode: consoleMode(['Off', 'Pty', 'Tty', 'File', 'Null', 'Socket']),
    port: beyond(
      optional(
        text(
          'Name of a virtio-serial port (/dev/vport*p1) that takes the place of hvc0: without a terminal driver it is several times faster',
          '<name>',
          PORT_NAME_MAX,
        ),
      ),
    ),
    iommu: defaulted(flag('Behind the virtual IOMMU'), false),
    pci_device_id: pciDeviceId(),
  },
});

/** Returns the member with a console's file; on the command line `file=<path>`. */
export function consoleFile() {
  return formed(
    { keys: ['file'], syntax: '', read: (words: Words) => readPath(words, 'file') },
    optional(path('File that gets the output in mode File; the PTY in answers in mode Pty')),
  );
}

/** Returns the member with a console's mode; on the command line each mode is a key. */
export function consoleMode<const M extends 'Off' | 'Pty' | 'Tty' | 'File' | 'Null' | 'Socket'>(
  modes: readonly M[],
) {
  const socket = modes.some((mode) => mode === 'Socket') ? '|socket=<path>' : '';
  return formed(
    { keys: [], flags: FLAGS, syntax: `off|pty|tty|null|file=<path>${socket}`, read: readMode },
    choice('Destination of the output', modes, { beyond: ['Socket'] }),
  );
}

function readMode(words: Words): string {
  const mode = [...FLAGS, ...PATHS].find((word) => words.has(word));
  if (mode === undefined)
    throw new OptionStringError('invalid console mode given', { hint: `expected ${MODES}` });
  return `${mode.charAt(0).toUpperCase()}${mode.slice(1)}`;
}

/** Reads the path of a mode; undefined if another mode on the command line applies. */
function readPath(words: Words, mode: 'file' | 'socket'): string | undefined {
  const wins = [...FLAGS, ...PATHS].find((word) => words.has(word));
  if (wins !== mode) return undefined;
  const found = words.text(mode);
  if (found === undefined) {
    throw new OptionStringError(mode === 'file' ? FILE_MISSING : SOCKET_MISSING, { validation: true });
  }
  return found;
}
