// A proxy before a vhost-user back-end, as strict as rust-vmm's crates: a front-end that violates a rule is disconnected.
// node vhost-user-proxy.js listen|connect <socket> <socket of the back-end>. Serves one connection after the other.
import { closeSync } from 'node:fs';
import { acceptBackEnds, connectToBackEnds } from '../../src/host/vhost-user/back-end-connections.ts';
import { loadChannelCalls, openChannel, type Channel } from '../../src/host/vhost-user/channel.ts';
import { createStrictRules } from './vhost-user-rules.ts';

async function serve(frontEnd: Channel, backEnd: Channel): Promise<void> {
  const rules = createStrictRules();
  const toFrontEnd = async (): Promise<void> => {
    for (let reply = await backEnd.receive(); reply !== undefined; reply = await backEnd.receive()) {
      rules.noteReply(reply);
      if (!(await frontEnd.send(reply))) return;
    }
  };
  const toBackEnd = async (): Promise<void> => {
    let acknowledged = 0n;
    for (let message = await frontEnd.receive(); message !== undefined; message = await frontEnd.receive()) {
      try {
        rules.check(message);
      } catch (error) {
        console.log(`refused: ${error instanceof Error ? error.message : String(error)}`);
        for (const fd of message.fds) closeSync(fd);
        return;
      }
      if (rules.features() !== acknowledged) console.log(`features ${rules.features().toString(16)}`);
      acknowledged = rules.features();
      if (!(await backEnd.send(message))) return;
    }
  };
  await Promise.race([toFrontEnd(), toBackEnd()]);
}

const [how = '', path = '', behind = ''] = process.argv.slice(2);
const calls = await loadChannelCalls();
using frontEnds = await (how === 'listen' ? acceptBackEnds(path) : connectToBackEnds(path));
using backEnds = await connectToBackEnds(behind);
const forever = new AbortController().signal;
for (;;) {
  const front = await frontEnds.next(forever);
  const back = await backEnds.next(forever);
  if (front === undefined || back === undefined) break;
  using frontEnd = openChannel(front, calls);
  using backEnd = openChannel(back, calls);
  await serve(frontEnd, backEnd);
}
