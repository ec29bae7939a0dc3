import type { Report } from '../devices/common/rules.ts';
import { dialectOf } from './dialect.ts';
import type { VmConfig } from './vm-config.ts';

/** Checks that at most one console is on the terminal of the VMM, in dialects in which consoles do not share it. */
export function checkTerminal(config: VmConfig, report: Report): void {
  if (dialectOf(config).sharesTerminal) return;
  const { serial, console, debug_console: debug } = config;
  if (serial.mode === 'Tty' && console.mode === 'Tty') {
    report('console.mode', 'Console mode tty specified for both serial and console');
  }
  if (debug?.mode === 'Tty' && [serial.mode, console.mode].includes('Tty')) {
    report('debug_console.mode', 'the terminal is that of another console already');
  }
}
