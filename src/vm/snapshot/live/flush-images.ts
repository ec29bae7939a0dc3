import type { Machine } from '../../machine.ts';
import { reasonOf } from '../../../util/errno.ts';
import { createLog } from '../../../util/log.ts';
import { openFile } from '../../../util/open-file.ts';
import { beforeDeadline } from '../../../util/path-deadline.ts';

const log = createLog('snapshot');

/** Time limit for one image, in milliseconds. */
const LIMIT_MS = 5000;

/**
 * Stores the data of a running machine's images on the disks of the host. QEMU does the same when the vCPUs are stopped, and takes
 * less time for it then. A failure is logged only.
 */
export async function flushImages({ preparations }: Pick<Machine, 'preparations'>): Promise<void> {
  for (const { path } of preparations.images().values()) {
    try {
      await using image = await openFile(path, { kinds: ['file', 'block'], deadlineMs: LIMIT_MS });
      await beforeDeadline(path, () => image.datasync(), { deadlineMs: LIMIT_MS });
    } catch (error) {
      log.debug(`${path}: is not stored before the pause: ${reasonOf(error)}`);
    }
  }
}
