import { closeSync } from 'node:fs';
import { isatty } from 'node:tty';

/**
 * Prevents an abort at exit if a terminal of the standard streams was closed. At exit Node restores the settings of each
 * terminal that it started with, and aborts if that fails. It skips closed descriptors.
 */
export function surviveLostTerminals(): void {
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  process.on('exit', () => {
    // a closed terminal is not reported as a terminal
    for (const fd of terminals) if (!isatty(fd)) closeSync(fd);
  });
}
