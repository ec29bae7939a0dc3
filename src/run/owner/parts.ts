import type { ConnectGuest } from '../../guest/guest.ts';
import type { OpenImage } from '../../images/image.ts';
import type { GuestTools } from '../guest-tools/guest-tools.ts';
import { imagesInUse } from '../vm-directory/images-in-use.ts';
import type { GuestPlan, StartedGuest, StartOptions } from './start-guest.ts';

/** Functions of other folders that a run uses; tests replace them. */
export interface RunParts {
  readonly openImage: OpenImage;
  /** Returns the guest tools, which are made at the first run */
  readonly openTools: (options: { readonly signal: AbortSignal }) => Promise<GuestTools>;
  readonly connect: ConnectGuest;
  /** Starts a VM: from a warm snapshot where there is one */
  readonly start: (plan: GuestPlan, options: StartOptions) => Promise<StartedGuest>;
}

/** Returns the functions of this program. Each loads its modules on first use. */
export function defaultParts(): RunParts {
  return {
    openImage: async (name, options) =>
      (await import('../../images/index.ts')).openImage(name, { inUse: imagesInUse, ...options }),
    openTools: async (options) => (await import('../guest-tools/guest-tools.ts')).guestTools(options),
    connect: async (access) => (await import('../../guest/connect-guest.ts')).connectGuest(access),
    start: async (plan, options) => (await import('../warm/warm-start.ts')).startWarm(plan, options),
  };
}
