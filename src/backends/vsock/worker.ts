// The thread of a vsock device.
import { closeSync } from 'node:fs';
import { loadLibc } from '../../native/libc.ts';
import { threadOptions } from '../../util/thread-options.ts';
import { postFailure, postToMain, runDevice, type ThreadContext } from '../thread-loop.ts';
import type { Sessions } from '../vhost-user/sessions.ts';
import { VsockDevice } from './device.ts';
import type { VsockCommand, VsockMessage, VsockOptions } from './thread-messages.ts';

function obey(
  command: VsockCommand,
  { device, sessions }: { device: VsockDevice; sessions: Sessions },
): void {
  switch (command.kind) {
    case 'report':
      return post({ kind: 'handover-state', state: device.handoverState });
    case 'reconnect':
      if (command.previous !== undefined) device.follow(command.previous);
      return post({ kind: 'reconnected', frontEnd: sessions.renew() });
  }
}

function post(message: VsockMessage): void {
  postToMain(message);
}

async function main(options: VsockOptions): Promise<void> {
  const { cid, socket: path, listener } = options;
  // Node prints a warning where a thread closes a descriptor that it has not opened by Node
  let close: (fd: number) => unknown = closeSync;
  try {
    ({ close } = await loadLibc());
    const create = ({ loop, log }: ThreadContext): VsockDevice =>
      new VsockDevice({ cid, path, listener, loop, log });
    runDevice(options, { create, obey });
  } catch (error) {
    postFailure(error);
  } finally {
    close(listener);
  }
}

threadOptions<VsockOptions>().then(main).catch(postFailure);
