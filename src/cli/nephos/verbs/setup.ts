import { guestTools } from '../../../run/guest-tools/guest-tools.ts';
import { interruptSignal } from '../interrupt.ts';
import { openProgressLine } from '../progress.ts';
import type { CommandLine } from '../verb.ts';

/** Makes the guest tools, and prints the paths of the kernel and the initramfs. */
export async function run(line: CommandLine): Promise<number> {
  using interrupt = interruptSignal();
  using progress = openProgressLine();
  const { kernel, initramfs, release } = await guestTools({
    signal: interrupt.signal,
    onProgress: (step) => progress.text(`preparing the ${step}`),
    refresh: line.has('refresh'),
  });
  progress[Symbol.dispose]();
  process.stdout.write(`kernel ${release}: ${kernel}\nguest tools: ${initramfs}\n`);
  return 0;
}
