import { connect } from 'node:net';
import { once } from 'node:events';
import { until } from './wait.ts';

/** Client of GDB's remote serial protocol. */
export interface GdbClient extends Disposable {
  /** Sends a packet and returns the answer's text. */
  readonly ask: (text: string) => Promise<string>;
  /** Sends a packet without waiting for its answer. */
  readonly tell: (text: string) => void;
}

/** Connects to a UNIX socket on which a guest is debugged. */
export async function connectGdb(path: string): Promise<GdbClient> {
  const socket = connect(path);
  await once(socket, 'connect');
  let received = '';
  socket.on('data', (bytes: Buffer) => (received += bytes.toString('latin1')));
  const tell = (text: string): void => {
    const sum = Buffer.from(text).reduce((total, byte) => (total + byte) & 0xff, 0);
    socket.write(`$${text}#${sum.toString(16).padStart(2, '0')}`);
  };
  return {
    tell,
    ask: async (text) => {
      received = '';
      tell(text);
      await until(
        `the stub answers ${text}`,
        () => /\$[^#]*#[\da-f]{2}/.test(received),
        () => received,
      );
      socket.write('+');
      return /\$([^#]*)#/.exec(received)?.[1] ?? '';
    },
    [Symbol.dispose]: () => socket.destroy(),
  };
}
