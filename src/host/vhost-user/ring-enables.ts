import {
  acknowledge,
  needsReply,
  PROTOCOL_FEATURES,
  Request,
  withoutReply,
  type Message,
} from './message.ts';

/** Messages that follow from a message of the front-end, by their destination. */
export interface Routed {
  readonly toBackEnd: readonly Message[];
  readonly toFrontEnd: readonly Message[];
}

/**
 * Decides for one connection when the back-end gets the front-end's messages. QEMU enables the rings of a network
 * (SET_VRING_ENABLE) before the features are acknowledged (SET_FEATURES). The specification allows it only afterwards, and
 * back-ends on rust-vmm's `vhost` end the connection. Such requests are held back until then; the last one of each ring counts.
 */
export function createRingEnables(): (message: Message) => Routed {
  const held = new Map<number, Message>();
  let isNegotiated = false;
  return (message) => {
    const { request, payload } = message;
    if (request === Request.SetVringEnable && !isNegotiated && payload.length === 8) {
      held.set(payload.readUInt32LE(0), withoutReply(message));
      return { toBackEnd: [], toFrontEnd: needsReply(message) ? [acknowledge(message)] : [] };
    }
    if (request === Request.ResetOwner || request === Request.ResetDevice) isNegotiated = false;
    if (request !== Request.SetFeatures || payload.length !== 8) return pass(message);
    isNegotiated = (payload.readBigUInt64LE(0) & PROTOCOL_FEATURES) !== 0n;
    // without the feature all rings are enabled from the start, and no request may enable them
    const enables = isNegotiated ? [...held.values()] : [];
    held.clear();
    return { toBackEnd: [message, ...enables], toFrontEnd: [] };
  };
}

function pass(message: Message): Routed {
  return { toBackEnd: [message], toFrontEnd: [] };
}
