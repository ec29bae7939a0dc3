import type { NetConnectOpts } from 'node:net';
import { errorChain } from '../../api/errors.ts';
import { decodeVmConfig } from '../../config/decode-vm-config.ts';
import type { VmConfig } from '../../config/vm-config.ts';
import { acceptMigration } from '../../host/migration/migration-connection.ts';
import { reasonOf } from '../../util/errno.ts';
import { parseDescription, type MachineDescription } from '../machine-state/machine-description.ts';
import { parseOffer, type Answer } from './messages.ts';

/** Time limit for the offer of a sender, in milliseconds. */
const OFFER_MS = 60_000;

/** A VM that a sender offers. */
export interface OfferedVm {
  readonly config: VmConfig;
  readonly description: MachineDescription;
}

/** The VMM that sends its VM to this one. */
export interface Sender extends Disposable {
  /** Reads the first message. Rejects if it is no offer, and after the time limit. */
  readonly readOffer: () => Promise<OfferedVm>;
  /** Answers that QEMU waits. Returns the file descriptor of the connection, which the caller must close. */
  readonly accept: () => Promise<number>;
  /** Answers with the reasons why the VM is not received. */
  readonly refuse: (error: unknown) => void;
}

/** Waits until a sender connects. Rejects with the URL and the reason, also if `signal` aborts the wait. */
export async function acceptSender(
  url: string,
  address: NetConnectOpts,
  signal: AbortSignal,
): Promise<Sender> {
  const link = await acceptMigration(address, signal).catch((error: unknown) => {
    throw new Error(`${url}: cannot be listened on: ${reasonOf(error)}`, { cause: error });
  });
  return {
    readOffer: async () => {
      const offer = parseOffer(await link.receive(OFFER_MS));
      const { config } = decodeVmConfig(offer.config);
      return { config, description: parseDescription(offer.machine) };
    },
    accept: () => {
      const ready: Answer = {};
      return link.detach(ready);
    },
    refuse: (error) => {
      const answer: Answer = { refused: errorChain(error) };
      link.send(answer);
    },
    [Symbol.dispose]: link[Symbol.dispose],
  };
}
