// Thread of bench/events.ts: a reader of events that does not read, and one for each counter.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

const REQUEST = 'GET /api/v1/vmm.events HTTP/1.0\r\n\r\n';
const MARK = 'event: deleted\n';

interface Readers {
  readonly socket: string;
  /** number of events that each reader has read, in shared memory */
  readonly counts: readonly Int32Array[];
}

// bench/events.ts has made it
// oxlint-disable-next-line typescript/no-unsafe-type-assertion
const { socket: path, counts } = workerData as Readers;

async function openReader(onText: (text: string) => void): Promise<Socket> {
  const socket = connect(path);
  await once(socket, 'connect');
  socket.setEncoding('latin1').on('data', onText);
  socket.on('error', () => undefined);
  socket.write(REQUEST);
  await once(socket, 'data');
  return socket;
}

/** Returns a function that counts the events of a text in parts. */
function counter(count: Int32Array): (part: string) => void {
  let rest = '';
  return (part) => {
    const parts = (rest + part).split(MARK);
    Atomics.add(count, 0, parts.length - 1);
    rest = (parts.pop() ?? '').slice(1 - MARK.length);
  };
}

(await openReader(() => undefined)).pause();
for (const count of counts) await openReader(counter(count));
// oxlint-disable-next-line unicorn/require-post-message-target-origin
parentPort?.postMessage('ready');
