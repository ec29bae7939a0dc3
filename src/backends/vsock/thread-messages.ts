import type { DeviceOptions, ThreadMessage } from '../device-thread.ts';

/** Options of the thread of a vsock device. */
export interface VsockOptions extends DeviceOptions {
  /** the guest's CID */
  readonly cid: number;
  /** path of the UNIX socket; the guest's connections to port N go to `<path>_N` */
  readonly socket: string;
  /** the listening socket at the path, which the thread closes */
  readonly listener: number;
}

/** The two ends of a stream. */
export interface Ports {
  readonly guestPort: number;
  readonly hostPort: number;
}

/** State that a device takes over with the guest of another one. */
export interface HandoverState {
  /** connections that the guest may take for open */
  readonly streams: readonly Ports[];
  /** next free host port: programs in the guest may hold ends of closed connections with earlier ones */
  readonly nextHostPort: number;
}

/** A message to the thread, beside `stop`. */
export type VsockCommand =
  /** requests the state for another device */
  | { readonly kind: 'report' }
  /**
   * requests a further connection: QEMU creates the device again, for a guest whose driver stays. `previous` is the state of the
   * guest's previous device
   */
  | { readonly kind: 'reconnect'; readonly previous: HandoverState | undefined };

/** A message to the main thread. */
export type VsockMessage = ThreadMessage | { readonly kind: 'handover-state'; readonly state: HandoverState };
