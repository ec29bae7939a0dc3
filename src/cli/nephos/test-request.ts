import type { RunRequest } from '../../run/run-request.ts';
import { testRunRequest } from '../../run/test-run-request.ts';

/** Returns a request for tests of VM directories. */
export function testRequest(name: string, members: Partial<RunRequest> = {}): RunRequest {
  const shared = { command: ['sleep', '1000'], name, isDetached: true, removes: false };
  return testRunRequest({ ...shared, ...members });
}
