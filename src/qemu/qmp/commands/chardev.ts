import * as v from 'valibot';
import { action, query } from '../command.ts';

type SocketAddress =
  | { readonly type: 'unix'; readonly data: { readonly path: string } }
  | { readonly type: 'fd'; readonly data: { readonly str: string } };

/** Part of QEMU's ChardevBackend that is used. */
export type ChardevBackendArgs =
  | { readonly type: 'null'; readonly data: Readonly<Record<string, never>> }
  | {
      readonly type: 'socket';
      readonly data: { readonly addr: SocketAddress; readonly server: boolean; readonly wait?: boolean };
    };

const Chardev = v.object({
  /** id of the chardev */
  label: v.string(),
  /** begins with `disconnected:` for a socket without a peer */
  filename: v.string(),
});

/** Character back-ends. */
export const chardevCommands = {
  'chardev-add': action<{ readonly id: string; readonly backend: ChardevBackendArgs }>(),
  'chardev-remove': action<{ readonly id: string }>(),
  'query-chardev': query(v.array(Chardev)),
};
