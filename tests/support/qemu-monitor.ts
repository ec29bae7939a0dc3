import { once } from 'node:events';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { openQmp, type Qmp } from '../../src/qemu/qmp/connection.ts';
import { makeFolder } from './vmm.ts';

/** Monitor of the QEMU of a VMM, for a test: other programs have none. */
export interface Monitor extends Disposable {
  /** environment of the VMM, which makes it start QEMU with a further monitor */
  readonly env: NodeJS.ProcessEnv;
  /** Runs commands of QEMU's human monitor and returns their output. */
  readonly ask: (...commands: readonly string[]) => Promise<string[]>;
}

/** Writes a script in place of QEMU that starts QEMU with a further monitor. */
export function openMonitor(): Monitor {
  const folder = makeFolder();
  const [program, socket] = [join(folder, 'qemu'), join(folder, 'monitor')];
  const more = `-chardev socket,id=the-test,path=${socket},server=on,wait=off -mon chardev=the-test,mode=control`;
  writeFileSync(program, `#!/bin/sh\nexec qemu-system-x86_64 "$@" ${more}\n`);
  chmodSync(program, 0o755);
  let connection: Promise<Connection> | undefined;
  return {
    env: { NEPHOS_QEMU: program },
    ask: async (...commands) => {
      // the QEMU before a reboot
      if ((await connection)?.stream.destroyed === true) connection = undefined;
      // stays open: QEMU closes its end of a connection later than this process
      connection ??= connectTo(socket);
      const { qmp } = await connection;
      const answers: string[] = [];
      for (const command of commands) {
        answers.push(await qmp.execute('human-monitor-command', { 'command-line': command }));
      }
      return answers;
    },
    [Symbol.dispose]: () => {
      void connection?.then(({ stream }) => stream.destroy());
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Connection {
  readonly stream: Socket;
  readonly qmp: Qmp;
}

async function connectTo(socket: string): Promise<Connection> {
  const stream = connect(socket);
  await once(stream, 'connect');
  return { stream, qmp: await openQmp(stream, () => undefined) };
}
