/** COMMAND_LINE_SIZE of Linux on x86, less the final NUL, in bytes: a longer one is cut by the kernel. */
const LIMIT_BYTES = 2047;

/** Linux gives what follows this word to init. */
const INIT_ARGUMENTS = ' -- ';

/**
 * Tells Linux to trust the machine's timer. At boot it counts ticks for some 50 ms of its processor's time; an emulated machine
 * on a busy host misses ticks then, and the kernel panics: "IO-APIC + timer doesn't work". Under KVM and Hyper-V Linux trusts the
 * timer by itself. A command line that has the word already, or no space for it, stays as it is.
 */
export function withoutTimerCheck(commandLine: string): string {
  const word = 'no_timer_check';
  if (commandLine.split(/\s/).includes(word)) return commandLine;
  const at = commandLine.indexOf(INIT_ARGUMENTS);
  const [kernel, init] = at < 0 ? [commandLine, ''] : [commandLine.slice(0, at), commandLine.slice(at)];
  const whole = `${kernel}${kernel === '' ? '' : ' '}${word}${init}`;
  return Buffer.byteLength(whole) > LIMIT_BYTES ? commandLine : whole;
}

/**
 * Whether Linux reads the ACPI tables. Without them it finds its interrupt controllers in the MP table, which SeaBIOS writes
 * and qboot does not.
 */
export function usesAcpi(commandLine: string): boolean {
  const [kernel = ''] = commandLine.split(INIT_ARGUMENTS);
  return !kernel.split(/\s/).includes('acpi=off');
}
