import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Channel } from './channel.ts';
import { createRingEnables } from './ring-enables.ts';
import type { Message } from './message.ts';

/** Messages that are passed on before other work of the event loop: a back-end may send without end. */
const BATCH = 32;

/**
 * Passes messages on between QEMU and a back-end until one of them ends the connection; then both are closed. Rejects with the
 * violation of the protocol. At most one message of each side is kept.
 */
export async function relayMessages(frontEnd: Channel, backEnd: Channel): Promise<void> {
  const route = createRingEnables();
  const toBackEnd = passOn(frontEnd, async (message) => {
    const routed = route(message);
    return (await sendAll(backEnd, routed.toBackEnd)) && (await sendAll(frontEnd, routed.toFrontEnd));
  });
  const toFrontEnd = passOn(backEnd, frontEnd.send);
  try {
    await Promise.race([toBackEnd, toFrontEnd]);
  } finally {
    frontEnd[Symbol.dispose]();
    backEnd[Symbol.dispose]();
    await Promise.allSettled([toBackEnd, toFrontEnd]);
  }
}

async function passOn(from: Channel, send: (message: Message) => Promise<boolean>): Promise<void> {
  for (let count = 1; ; count++) {
    const message = await from.receive();
    if (message === undefined || !(await send(message))) return;
    if (count % BATCH === 0) await nextTurn();
  }
}

async function sendAll(to: Channel, messages: readonly Message[]): Promise<boolean> {
  for (const message of messages) if (!(await to.send(message))) return false;
  return true;
}
