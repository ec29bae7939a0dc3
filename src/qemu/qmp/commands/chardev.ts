import * as v from 'valibot';
import { action, query, queryWith } from '../command.ts';

type SocketAddress =
  | { readonly type: 'unix'; readonly data: { readonly path: string } }
  | { readonly type: 'fd'; readonly data: { readonly str: string } };

/** Part of QEMU's ChardevBackend that is used. */
export type ChardevBackendArgs =
  | { readonly type: 'null'; readonly data: Readonly<Record<string, never>> }
  | {
      readonly type: 'socket';
      readonly data: {
        readonly addr: SocketAddress;
        readonly server: boolean;
        readonly wait?: boolean;
        readonly logfile?: string;
        readonly logappend?: boolean;
      };
    };

const Chardev = v.object({
  /** id of the chardev */
  label: v.string(),
  /** begins with `disconnected:` for a socket without a peer */
  filename: v.string(),
});

/** File descriptors that paths `/dev/fdset/N` refer to, by their numbers in QEMU. */
const DescriptorSet = v.object({
  'fdset-id': v.number(),
  fds: v.array(v.object({ fd: v.number() })),
});

/** Character back-ends. */
export const chardevCommands = {
  'chardev-add': action<{ readonly id: string; readonly backend: ChardevBackendArgs }>(),
  'chardev-window-size-changed': action<{
    readonly id: string;
    readonly cols: number;
    readonly rows: number;
  }>(),
  'chardev-change': action<{ readonly id: string; readonly backend: ChardevBackendArgs }>(),
  /** removes the bytes from the ring */
  'ringbuf-read': queryWith<
    { readonly device: string; readonly size: number; readonly format: 'base64' },
    string
  >(v.string()),
  'ringbuf-write': action<{ readonly device: string; readonly data: string; readonly format: 'base64' }>(),
  'query-fdsets': query(v.array(DescriptorSet)),
  'chardev-remove': action<{ readonly id: string }>(),
  'query-chardev': query(v.array(Chardev)),
};
