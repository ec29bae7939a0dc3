// The thread of a vsock device.
import { closeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { loadLibc } from '../../native/libc.ts';
import { postFailure, postToMain, runDevice } from '../thread-loop.ts';
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

async function main({ cid, socket: path, listener }: VsockOptions): Promise<void> {
  // Node prints a warning where a thread closes a descriptor that it has not opened by Node
  let close: (fd: number) => unknown = closeSync;
  try {
    ({ close } = await loadLibc());
    runDevice({ create: ({ loop, log }) => new VsockDevice({ cid, path, listener, loop, log }), obey });
  } catch (error) {
    postFailure(error);
  } finally {
    close(listener);
  }
}

main(workerData).catch(postFailure);
