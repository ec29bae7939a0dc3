import { UUID } from '../common/limits.ts';

/** Whether a text is a UUID in its usual form. */
export function isUuid(uuid: string): boolean {
  return new RegExp(UUID.pattern).test(uuid);
}
