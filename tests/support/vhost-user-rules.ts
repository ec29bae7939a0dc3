import type { Message } from '../../src/host/vhost-user/message.ts';

/*
 * Rules of rust-vmm's `vhost` and `vhost-user-backend` for a front-end (vhost 0.17): back-ends built with them close the connection
 * otherwise. Requests and bits are those of the vhost-user specification.
 */

/** Protocol features: the requests that each allows. */
const NEEDED = new Map<number, number>([
  [17, 0], // GET_QUEUE_NUM: MQ
  [6, 1], // SET_LOG_BASE: LOG_SHMFD
  [21, 5], // SET_BACKEND_REQ_FD: BACKEND_REQ
  [24, 9], // GET_CONFIG: CONFIG
  [25, 9], // SET_CONFIG: CONFIG
  [31, 12], // GET_INFLIGHT_FD: INFLIGHT_SHMFD
  [32, 12], // SET_INFLIGHT_FD: INFLIGHT_SHMFD
  [34, 13], // RESET_DEVICE: RESET_DEVICE
  [36, 15], // GET_MAX_MEM_SLOTS: CONFIGURE_MEM_SLOTS
  [37, 15], // ADD_MEM_REG: CONFIGURE_MEM_SLOTS
  [38, 15], // REM_MEM_REG: CONFIGURE_MEM_SLOTS
]);
const NO_PAYLOAD = new Set([1, 3, 4, 15, 17, 34, 36]);
const EIGHT_BYTES = new Set([2, 8, 10, 11, 12, 13, 14, 16, 18]);
const WITH_FILES = new Set([5, 6, 7, 12, 13, 14, 21, 32, 37, 42]);
const KNOWN = new Set([...NO_PAYLOAD, ...EIGHT_BYTES, ...WITH_FILES, 9, 24, 25, 31, 38, 43]);
const [GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE] = [1, 2, 3, 4, 5];
const [SET_PROTOCOL_FEATURES, SET_VRING_ENABLE, RESET_DEVICE] = [16, 18, 34];
const RINGS_WITH_FILE = new Set([12, 13, 14]);
const PROTOCOL_FEATURES = 1n << 30n;

/** The rules for one connection. */
export interface StrictRules {
  /** @throws with the violation for which a back-end closes the connection */
  readonly check: (message: Message) => void;
  /** Records an answer of the back-end. */
  readonly noteReply: (message: Message) => void;
  /** features that were acknowledged last */
  readonly features: () => bigint;
}

export function createStrictRules(): StrictRules {
  let [offered, features, protocol] = [0n, 0n, 0n];
  let isOwned = false;
  const checkers = new Map<number, (payload: Buffer) => void>([
    [
      SET_OWNER,
      () => {
        if (isOwned) throw new Error('already claimed');
        isOwned = true;
      },
    ],
    [RESET_OWNER, () => ([isOwned, features] = [false, 0n])],
    [RESET_DEVICE, () => (features = 0n)],
    [SET_PROTOCOL_FEATURES, (payload) => (protocol = payload.readBigUInt64LE(0))],
    [
      SET_FEATURES,
      (payload) => {
        features = payload.readBigUInt64LE(0);
        const wrong = features & ~offered;
        if (wrong !== 0n) throw new Error(`features ${wrong.toString(16)} were not offered`);
      },
    ],
    [
      SET_VRING_ENABLE,
      (payload) => {
        if ((features & PROTOCOL_FEATURES) === 0n) throw new Error('InactiveFeature(PROTOCOL_FEATURES)');
        if (payload.readUInt32LE(4) > 1) throw new Error('a ring is enabled by 1, disabled by 0');
      },
    ],
  ]);
  return {
    check: (message) => {
      checkForm(message);
      const needed = NEEDED.get(message.request);
      if (needed !== undefined && (protocol & (1n << BigInt(needed))) === 0n)
        throw new Error(`InactiveOperation: request ${message.request} without protocol feature ${needed}`);
      checkers.get(message.request)?.(message.payload);
    },
    noteReply: ({ request, payload }) => {
      if (request === GET_FEATURES) offered = payload.readBigUInt64LE(0);
    },
    features: () => features,
  };
}

function checkForm({ request, payload, fds }: Message): void {
  if (!KNOWN.has(request)) throw new Error(`request ${request} is not known`);
  if (NO_PAYLOAD.has(request) && payload.length > 0) throw new Error(`request ${request} with a payload`);
  if (EIGHT_BYTES.has(request) && payload.length !== 8)
    throw new Error(`request ${request} of ${payload.length} bytes`);
  if (fds.length > 0 && !WITH_FILES.has(request)) throw new Error(`request ${request} with descriptors`);
  if (RINGS_WITH_FILE.has(request) && ((payload.readUInt32LE(0) & 0x100) === 0) !== (fds.length === 1))
    throw new Error(`request ${request} with ${fds.length} descriptors`);
  if (request === SET_MEM_TABLE && payload.readUInt32LE(0) !== fds.length)
    throw new Error(`${payload.readUInt32LE(0)} regions with ${fds.length} descriptors`);
}
