import type { ConsoleReport, ConsoleRequest } from '../api/console-messages.ts';

/** Applies a size, and returns the answer. */
type Resize = (request: ConsoleRequest) => Promise<ConsoleReport>;

const REPLACED: ConsoleReport = { type: 'resize', applied: false, reason: 'Another size followed' };

/**
 * Returns a function that serves requests for sizes of one viewer, one at a time: a viewer that sends many must not fill the queue of
 * QEMU's commands. Of the requests that arrive meanwhile only the last one is applied. The answers have the order of the requests;
 * `report` returns false if no more can be sent.
 */
export function createSizeQueue(
  resize: Resize,
  report: (answer: ConsoleReport) => boolean,
): (request: ConsoleRequest) => Promise<void> {
  let isBusy = false;
  let next: ConsoleRequest | undefined;
  let replaced = 0;
  const takeNext = (): ConsoleRequest | undefined => {
    const taken = next;
    next = undefined;
    return taken;
  };
  const serve = async (request: ConsoleRequest): Promise<void> => {
    for (let one: ConsoleRequest | undefined = request; one !== undefined; one = takeNext()) {
      if (!report(await resize(one))) return;
      for (; replaced > 0; replaced--) if (!report(REPLACED)) return;
    }
  };
  return async (request) => {
    if (isBusy) {
      if (next !== undefined) replaced++;
      next = request;
      return;
    }
    isBusy = true;
    await serve(request).finally(() => (isBusy = false));
  };
}
