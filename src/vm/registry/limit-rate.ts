import type { OperationInfo } from '../../api/operations.ts';

/** Interval of the events of one operation that keeps its state, in milliseconds: 5 events a second. */
const INTERVAL_MS = 200;

/** Events of one operation. */
export interface OperationEvents {
  /** Reports the operation at once if its state has changed. */
  readonly change: () => void;
  /** Ends the reports. */
  readonly stop: () => void;
}

/** Calls `report` at each change of an operation's state, and at most once in each interval in which its progress has changed. */
export function limitRate(
  read: () => OperationInfo,
  report: (operation: OperationInfo) => void,
): OperationEvents {
  let reported: OperationInfo | undefined;
  const reportNow = (info: OperationInfo): void => {
    reported = info;
    report(info);
  };
  const timer = setInterval(() => {
    const info = read();
    if (info.state === 'running' && hasMoved(info, reported)) reportNow(info);
  }, INTERVAL_MS).unref();
  return {
    change: () => {
      const info = read();
      if (info.state !== reported?.state) reportNow(info);
    },
    stop: () => clearInterval(timer),
  };
}

function hasMoved({ progress }: OperationInfo, before: OperationInfo | undefined): boolean {
  const last = before?.progress;
  return progress?.phase !== last?.phase || progress?.done !== last?.done || progress?.total !== last?.total;
}
