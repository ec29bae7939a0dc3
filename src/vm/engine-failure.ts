import { ApiError } from '../api/errors.ts';
import { qemuId, type Placement } from '../machine/placement.ts';
import { EngineError } from '../qemu/engine-error.ts';

/**
 * QEMU's words about one of its parts as words about the device that the client knows.
 * `otherwise` is what is said where no device can be named.
 */
export function engineFailure(error: unknown, placements: readonly Placement[], otherwise: string): ApiError {
  if (!(error instanceof EngineError)) return new ApiError('failed', otherwise, { cause: error });
  const { part, message } = error;
  const placement = placements.find(({ id }) => part === qemuId(id) || part?.startsWith(`${qemuId(id)}.`));
  const what =
    placement === undefined ? part : `${placement.device.flag ?? placement.device.member} ${placement.id}`;
  return new ApiError('failed', what === undefined ? `${otherwise}: ${message}` : `${what}: ${message}`);
}
