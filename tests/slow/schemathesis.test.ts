// schemathesis reads the served documents and sends valid and invalid requests, with all of its checks.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertStatus } from '../support/answers.ts';
import { guestConfig, INITRAMFS, KERNEL } from '../support/guest.ts';
import { findings, type Meant, unmeant } from '../support/schemathesis.ts';
import { openTcpProxy } from '../support/tcp-proxy.ts';
import { startVmm } from '../support/vmm.ts';

/** Requests of each operation beside those at the bounds. */
const EXAMPLES = Number(process.env['NEPHOS_SCHEMATHESIS_EXAMPLES'] ?? '25');

/** A server error; a request that was refused, or accepted, against its schema; an undeclared status; a wrong method. */
const [ERROR, REFUSED, ACCEPTED, UNDECLARED, VERB] = ['ST101', 'ST202', 'ST201', 'ST103', 'ST204'];

/** Accepted findings in both documents. */
const MEANT: readonly Meant[] = [
  {
    check: VERB ?? '',
    operation: /^(GET|PUT) /,
    text: /returned 400/,
    reason: 'GET and PUT in place of each other on a path of the contract: as Cloud Hypervisor answers',
  },
  {
    check: ERROR ?? '',
    operation: /\/vm\.add-(user-device|vdpa|generic-vhost-user)$/,
    text: /^\[501\]/m,
    reason: 'QEMU cannot do it: the document says 501',
  },
  {
    check: ERROR ?? '',
    operation:
      /\/vm\.(boot|add-\w+|remove-device|resize|snapshot|restore|coredump|send-migration|receive-migration)$/,
    text: /^\[500\]/m,
    reason: 'a file, socket or device of the host that is not there: the contract says 500',
  },
  {
    check: REFUSED ?? '',
    operation: /^(GET|PUT) /,
    text: /^\[405\]/m,
    reason: 'the VM is in another state',
  },
  {
    check: REFUSED ?? '',
    operation:
      /\/vm\.(create|add-\w+|restore|resize|resize-zone|resize-disk|remove-device|receive-migration|send-migration)$/,
    text: /^\[400\]/m,
    reason: 'a rule that joins members, or a bound of this VM: no schema can say it',
  },
];

/** The contract's document, word for word, lacks much. */
const MEANT_OF_CONTRACT: readonly Meant[] = [
  ...MEANT,
  {
    check: UNDECLARED ?? '',
    operation: /./,
    text: /^\[(400|404|405|409|429|500|204)\]/m,
    reason: 'the contract lists few status codes',
  },
  {
    check: ACCEPTED ?? '',
    operation: /^PUT /,
    text: /-d '.*: null/,
    reason:
      'null stands for an optional member that is not given, as for Cloud Hypervisor: the contract does not say so',
  },
];
/** It ends the VMM; tests/exit-codes.test.ts has it. The others would end the VM whose state is tested. */
const ENDINGS = [
  '/vmm.shutdown',
  '/vm.shutdown',
  '/vm.delete',
  '/vm.power-button',
  '/vm.reboot',
  '/vm.restore',
];

/** It waits for a sending VMM without limit; tests/migration.test.ts has it. */
const WAITING = '/vm.receive-migration';

/** Its answer has no end; tests/event-stream.test.ts has it. */
const STREAM = '/vmm.events';

const cpus = { boot_vcpus: 1, max_vcpus: 2 };
const CONFIGS = {
  everything: {
    cpus,
    payload: { kernel: KERNEL, initramfs: INITRAMFS, cmdline: 'console=ttyS0' },
    serial: { mode: 'Null' },
    console: { mode: 'Off' },
  },
  contract: guestConfig({ cpus }),
};
const DOCUMENTS = { everything: 'openapi-everything.json', contract: 'openapi.json' };

for (const view of ['everything', 'contract'] as const) {
  for (const state of ['none', 'Created', 'Running'] as const) {
    test(`${DOCUMENTS[view]}, VM: ${state}`, async () => {
      // generated requests must not make interfaces on the host
      await using vmm = await startVmm({ through: ['unshare', '--net'] });
      await using door = await openTcpProxy(vmm.socket);
      if (state !== 'none') assertStatus(await vmm.put('vm.create', CONFIGS[view]), 204);
      if (state === 'Running') assertStatus(await vmm.put('vm.boot'), 204);
      const booting = state === 'Created' ? ['/vm.boot'] : [];
      const all = await findings({
        document: `${door.url}/${DOCUMENTS[view]}`,
        url: door.url,
        folder: vmm.folder,
        without: [STREAM, ...(state === 'none' ? ['/vmm.shutdown', WAITING] : [...ENDINGS, ...booting])],
        examples: EXAMPLES,
      });
      const meant = view === 'contract' ? MEANT_OF_CONTRACT : MEANT;
      const rest = unmeant(all, meant);
      assert.deepEqual(rest, [], rest.map((one) => `${one.operation} ${one.check}\n${one.text}`).join('\n'));
      assertStatus(await vmm.get('vmm.ping'), 200);
    });
  }
}
