/** What the thread of a vsock device is started with. */
export interface VsockOptions {
  /** the guest's address */
  readonly cid: number;
  /** path of the UNIX socket; the guest's connections to port N go to `<path>_N` */
  readonly socket: string;
  /** the UNIX socket, which the thread closes */
  readonly listener: number;
}

/** The two ends of a stream. */
export interface Ports {
  readonly guestPort: number;
  readonly hostPort: number;
}

/** What a device must know of the one whose guest it gets. */
export interface HandoverState {
  /** those that the guest may take for open */
  readonly streams: readonly Ports[];
  /** of the host's ports: the guest's programs may hold the ends of streams that are over */
  readonly nextHostPort: number;
}

/** What it is told. After each, something is written to its eventfd. */
export type ToWorker =
  | { readonly kind: 'stop' }
  /** What must another device know of this one? */
  | { readonly kind: 'tell' }
  /**
   * QEMU makes the device anew, for a guest whose driver stays: there is to be a further connection for it. `past` is what the
   * guest had with another device.
   */
  | { readonly kind: 'renew'; readonly past: HandoverState | undefined };

/** What it says to the main thread. */
export type FromWorker =
  /** It listens. `frontEnd` is QEMU's end of the vhost-user connection; writing to the eventfd `wake` ends the thread. */
  | { readonly kind: 'ready'; readonly frontEnd: number; readonly wake: number }
  | {
      readonly kind: 'log';
      readonly level: 'error' | 'warn' | 'info' | 'debug' | 'trace';
      readonly message: string;
    }
  | { readonly kind: 'past'; readonly past: HandoverState }
  /** `frontEnd` is QEMU's end of the further connection */
  | { readonly kind: 'renewed'; readonly frontEnd: number }
  | { readonly kind: 'failed'; readonly message: string };
