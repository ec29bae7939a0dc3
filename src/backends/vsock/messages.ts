/** What the thread of a vsock device is started with. */
export interface VsockOptions {
  /** the guest's address */
  readonly cid: number;
  /** path of the UNIX socket, which must not exist yet */
  readonly socket: string;
}

/** What it says to the main thread. */
export type FromWorker =
  /** It listens. `frontEnd` is QEMU's end of the vhost-user connection; writing to the eventfd `wake` ends the thread. */
  | { readonly kind: 'ready'; readonly frontEnd: number; readonly wake: number }
  | {
      readonly kind: 'log';
      readonly level: 'error' | 'warn' | 'info' | 'debug' | 'trace';
      readonly message: string;
    }
  | { readonly kind: 'failed'; readonly message: string };
