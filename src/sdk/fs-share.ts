import type { Readable } from 'node:stream';
import type { FsProvider } from '../backends/fs-provider/provider.ts';
import { serveProvider, type ServeOptions } from '../backends/fs-provider/service.ts';
import type { RequestBody } from './client.ts';
import { onEvents } from './vm-end.ts';

/** Configuration of a shared directory that a provider of this process serves. */
export interface ProvidedFs extends Pick<
  RequestBody<'vm.add-fs'>,
  'tag' | 'id' | 'num_queues' | 'queue_size' | 'pci_segment' | 'pci_device_id'
> {
  readonly provider: FsProvider;
  /** Limits of the calls of the provider */
  readonly serve?: ServeOptions;
}

/** A provider that is served on a UNIX socket. */
export interface FsShare extends AsyncDisposable {
  /** Item for `fs` of a VM's configuration, which also needs `memory.shared`. Any VMM with vhost-user can use its `socket`. */
  readonly config: RequestBody<'vm.add-fs'> & { readonly socket: string };
  /**
   * Ends the use of the provider and removes the socket. A guest that still has the device gets ENOTCONN for each request. Waits at
   * most a second for pending calls of the provider.
   */
  readonly close: () => Promise<void>;
}

/**
 * Serves a provider on a UNIX socket until it is closed. One VM at a time uses it, also after a reboot.
 *
 * ```ts
 * await using share = await serveFs({ tag: 'files', provider: memoryTree({ 'hello.txt': 'Hello\n' }) });
 * await using vm = await VirtualMachine.launch({ ...config, memory: { size, shared: true }, fs: [share.config] });
 * ```
 */
export async function serveFs({ provider, serve, ...config }: ProvidedFs): Promise<FsShare> {
  const service = await serveProvider(provider, serve);
  return {
    config: { ...config, socket: service.socket },
    close: service.close,
    [Symbol.asyncDispose]: service.close,
  };
}

/** The shares of a VM, by the id of their device. */
export class VmShares implements AsyncDisposable {
  readonly #all = new Map<string, FsShare>();
  readonly #events: Readable;
  #isListening = false;

  /** @param events events of the VMM */
  constructor(events: Readable) {
    this.#events = events;
  }

  /** Takes over a share, which is closed when its device is removed. */
  add(id: string, share: FsShare): void {
    this.#listen();
    this.#all.set(id, share);
  }

  async close(id: string): Promise<void> {
    const share = this.#all.get(id);
    this.#all.delete(id);
    await share?.close();
  }

  /** Listens to the events, once: also after all shares are closed. */
  #listen(): void {
    if (this.#isListening) return;
    this.#isListening = true;
    onEvents(this.#events, ({ event, properties }) => {
      if (event === 'device-removed') this.close(String(properties?.['id'])).catch(() => undefined);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#all.keys()].map((id) => this.close(id)));
  }
}
