import { closeSync } from 'node:fs';
import { isatty } from 'node:tty';

/**
 * Lets the process exit as it should where a terminal of its standard streams has been closed meanwhile. At the exit Node
 * restores the settings of each terminal that it started with, and aborts where that fails; it passes over closed descriptors.
 */
export function surviveLostTerminals(): void {
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  process.on('exit', () => {
    // a terminal that has been closed no longer counts as one
    for (const fd of terminals) if (!isatty(fd)) closeSync(fd);
  });
}
