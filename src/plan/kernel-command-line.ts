/** COMMAND_LINE_SIZE of Linux on x86 without the final NUL, in `bytes`; the kernel truncates a longer line. */
const LIMIT_BYTES = 2047;

/** Linux passes the words after this one to init. */
const INIT_ARGUMENTS = ' -- ';

/**
 * Adds `no_timer_check`, which makes Linux trust the machine's timer. Otherwise Linux counts ticks at boot for about 50 ms of CPU
 * time; an emulated machine on a busy host misses ticks, and the kernel panics: "IO-APIC + timer doesn't work". Under KVM and
 * Hyper-V Linux trusts the timer without it. A command line with the word, or without space for it, is returned unchanged.
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
 * Returns true if Linux reads the ACPI tables. Without them it finds its interrupt controllers in the MP table, which SeaBIOS
 * writes and qboot does not.
 */
export function usesAcpi(commandLine: string): boolean {
  const [kernel = ''] = commandLine.split(INIT_ARGUMENTS);
  return !kernel.split(/\s/).includes('acpi=off');
}
