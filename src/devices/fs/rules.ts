import { checkQueueCount, checkQueueSize, SHARED_MEMORY_NEEDED, type RuleContext } from '../common/rules.ts';
import { FS_TAG, type FsConfig } from './config.ts';

/** Checks a file system: its queues and its tag. */
export function checkFs(fs: FsConfig, context: RuleContext): void {
  const { place, sharesRam, report } = context;
  if (!sharesRam) report(place, SHARED_MEMORY_NEEDED);
  checkQueueCount(fs.num_queues, context);
  const length = new TextEncoder().encode(fs.tag).length;
  const { minLength: least, maxLength: most } = FS_TAG;
  if (length < least || length > most) report(`${place}.tag`, `must have ${least} to ${most} bytes`);
  checkQueueSize(fs.queue_size, context);
}
