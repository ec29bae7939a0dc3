import { pullImage } from '../../../images/index.ts';
import { imagesInUse } from '../../../run/vm-directory/images-in-use.ts';
import { interruptSignal } from '../interrupt.ts';
import { openProgressLine } from '../progress.ts';
import type { CommandLine } from '../verb.ts';

/** Fetches images, and prints the digest of each. */
export async function run(line: CommandLine): Promise<number> {
  const platform = line.value('platform');
  using interrupt = interruptSignal();
  for (const name of line.operands) {
    using progress = openProgressLine();
    const image = await pullImage(name, {
      signal: interrupt.signal,
      inUse: imagesInUse,
      ...(platform !== undefined && { platform }),
      ...(!line.has('quiet') && { onProgress: progress.image }),
    });
    process.stdout.write(`${image.digest}\n`);
  }
  return 0;
}
