import {
  checkQueueCount,
  checkQueueSize,
  SHARED_MEMORY_NEEDED,
  type Report,
  type RuleContext,
} from '../common/rules.ts';
import { DIRECTORY_MEMBERS, FS_TAG, type FsConfig } from './config.ts';

/** Checks a file system: its source, its queues and its tag. */
export function checkFs(fs: FsConfig, context: RuleContext): void {
  const { place, report } = context;
  checkSource(fs, context);
  checkQueueCount(fs.num_queues, context);
  const length = new TextEncoder().encode(fs.tag).length;
  const { minLength: least, maxLength: most } = FS_TAG;
  if (length < least || length > most) report(`${place}.tag`, `must have ${least} to ${most} bytes`);
  checkQueueSize(fs.queue_size, context);
}

function checkSource(fs: FsConfig, { place, sharesRam, report }: RuleContext): void {
  const { socket, directory } = fs;
  if (socket === undefined && directory === undefined) {
    report(place, 'missing field "socket" or "directory"');
    return;
  }
  if (socket !== undefined && directory !== undefined) {
    report(place, 'socket and directory are both given: a daemon or the VMM serves it, not both');
  }
  if (directory === '') report(`${place}.directory`, 'must not be empty');
  // the VMM's own back-end gets shared RAM without a setting
  if (directory === undefined && !sharesRam) report(place, SHARED_MEMORY_NEEDED);
  if (directory !== undefined) return;
  for (const member of DIRECTORY_MEMBERS) {
    if (fs[member] === undefined) continue;
    report(`${place}.${member}`, 'needs directory: the daemon of a socket has options of its own');
  }
}

/** Checks that the guest can mount each directory: Linux refuses a second file system with the same tag. */
export function checkTags(all: readonly FsConfig[], report: Report): void {
  for (const [i, { tag, directory }] of all.entries()) {
    const first = all.findIndex((one) => one.tag === tag);
    if (first === i || (directory ?? all[first]?.directory) === undefined) continue;
    report(`fs[${i}].tag`, `fs[${first}] has the tag ${tag} already`);
  }
}
