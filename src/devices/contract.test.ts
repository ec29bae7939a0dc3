// Tests that every kind of device passes: it decodes its least configuration, refuses other JSON with the place of the fault, and
// plans steps that QEMU gets as arguments or over QMP, and that a removal reverses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderArguments } from '../qemu/process/arguments.ts';
import { planDescriptors } from '../qemu/process/descriptors.ts';
import type { Qmp } from '../qemu/qmp/connection.ts';
import { addSteps, removeSteps } from '../qemu/qmp/steps.ts';
import { decode, DecodeError, encode } from '../schema/decode.ts';
import type { Field, Struct } from '../schema/field.ts';
import type { MachinePlan } from './common/machine-plan.ts';
import type { Step } from './common/step.ts';
import { stepsOf } from './common/test-kit.ts';
import { isPinnedMember } from './test-kinds.ts';
import { DEVICES } from './table.ts';

/** Host facts of the kinds whose plans need them, by member. */
const FACTS: Readonly<Record<string, unknown>> = {
  devices: { sysfs: '/sys/bus/pci/devices/0000:01:00.0' },
  disks: { layers: [{ path: '/d', driver: 'raw', isDevice: false }], serial: 's', aio: 'threads' },
  fs: { frontEnd: '/run/fs' },
  memory: { node: 0 },
  net: { mac: '12:34:56:78:90:ab', fds: [7, 8] },
  pmem: { size: 2 ** 21, isFolder: false },
  tpm: { fd: 9 },
  vsock: { frontEnd: 10 },
};

/** Returns JSON with the required members only, each with a value that its schema allows. */
function leastOf({ fields }: Struct): Readonly<Record<string, unknown>> {
  const required = Object.entries(fields).filter(([, field]) => field.required);
  return Object.fromEntries(required.map(([name, field]) => [name, valueFor(field)]));
}

function valueFor({ nested, everything }: Field): unknown {
  if (everything['type'] === 'array') return [];
  if (nested !== undefined) return leastOf(nested);
  if (everything['type'] === 'integer') return everything['minimum'];
  const [choice]: readonly unknown[] = Array.isArray(everything['enum']) ? everything['enum'] : [];
  return choice ?? (everything['type'] === 'boolean' ? false : 'r');
}

function problemsOf(struct: Struct, json: unknown): readonly string[] {
  try {
    decode(struct, json);
  } catch (error) {
    assert.ok(error instanceof DecodeError);
    return error.problems;
  }
  return [];
}

const STRUCTS = [
  ...new Map(DEVICES.flatMap(({ struct }) => (struct === undefined ? [] : [[struct.name, struct]]))).values(),
];

for (const struct of STRUCTS) {
  test(`${struct.name} decodes its least configuration, and its own answer again`, () => {
    const config = decode(struct, leastOf(struct));
    assert.deepEqual(decode(struct, encode(struct, config)), config);
  });

  test(`${struct.name} names each required member that is missing`, () => {
    const least = leastOf(struct);
    for (const name of Object.keys(least)) {
      const { [name]: _missing, ...rest } = least;
      assert.deepEqual(problemsOf(struct, rest), [`missing field "${name}"`]);
    }
  });

  test(`${struct.name} names the member whose value has another type`, () => {
    for (const name of Object.keys(struct.fields)) {
      const [problem = '', ...others] = problemsOf(struct, { ...leastOf(struct), [name]: () => undefined });
      assert.ok(problem.startsWith(`${name}: expected `), problem);
      assert.deepEqual(others, []);
    }
  });
}

const PLANNED = DEVICES.filter((device) => device.plan !== undefined).map((device) => {
  const least = device.struct === undefined ? true : leastOf(device.struct);
  return { device, steps: stepsOf(device, least, { facts: FACTS[device.member] }) };
});

/** Names of devices in the titles of tests: two kinds can have one member. */
const nameOf = (steps: readonly Step[]): string =>
  steps.flatMap((step) => (step.kind === 'device' ? [step.props.driver] : [])).join(', ');

for (const { device, steps } of PLANNED) {
  const name = `${device.member} (${nameOf(steps)})`;

  test(`${name} plans the same steps for the same configuration, a device last`, () => {
    const least = device.struct === undefined ? true : leastOf(device.struct);
    assert.deepEqual(stepsOf(device, least, { facts: FACTS[device.member] }), steps);
    assert.equal(steps.at(-1)?.kind, 'device');
  });

  test(`${name} is on the bus where it takes a slot`, () => {
    const onSlot = steps.filter((step) => step.kind === 'device' && step.props['addr'] === '5');
    assert.equal(onSlot.length, device.takesSlot ? 1 : 0);
    const [step] = onSlot;
    if (step?.kind === 'device') assert.equal(step.props.id, 'x');
  });

  test(`${name} renders each step as one argument of QEMU`, () => {
    const atBoot = steps.filter((step) => step.kind !== 'chardev' || step.backend.type !== 'socket');
    const plan: MachinePlan = { ...EMPTY_MACHINE, steps: atBoot };
    const without = renderArguments(EMPTY_MACHINE, planDescriptors(EMPTY_MACHINE));
    const rendered = renderArguments(plan, planDescriptors(plan)).slice(without.length);
    assert.deepEqual(
      rendered.filter((one) => /^-(object|blockdev|netdev|chardev|tpmdev|device)$/.test(one)),
      atBoot.map(({ kind }) => `-${kind}`),
    );
  });
}

const HOT_PLUGGED = PLANNED.filter(({ device }) => device.removable);

for (const { device, steps } of HOT_PLUGGED) {
  test(`${device.member}: a removal over QMP deletes what was added, in reverse order`, async () => {
    const [added, removed] = [recordQmp(), recordQmp()];
    await addSteps(added.qmp, steps);
    await removeSteps(removed.qmp, steps);
    assert.equal(added.objects.length, steps.length);
    assert.deepEqual(removed.objects, added.objects.toReversed());
  });
}

test('every device that can be added to a running VM is tested here', () => {
  const members = HOT_PLUGGED.map(({ device }) => device.member).filter(isPinnedMember);
  assert.deepEqual(members.toSorted(), ['devices', 'disks', 'fs', 'net', 'vsock']);
});

const EMPTY_MACHINE: MachinePlan = {
  machine: { type: 'pc', properties: {} },
  accelerator: { name: 'tcg', properties: {} },
  cpu: { model: 'max', properties: {} },
  smp: { cpus: 1 },
  memory: { size: 2 ** 29, slots: 0, max: 2 ** 29 },
  numa: [],
  boot: { kind: 'none', firmware: 'qboot.rom' },
  steps: [],
  lateSteps: [],
  smbios: [],
  fwCfg: [],
  debugger: undefined,
  hugePages: true,
  inherited: new Map(),
  incoming: false,
};

/** Returns a QMP connection that accepts everything, and the names of the objects that its commands add or delete. */
function recordQmp(): { readonly qmp: Qmp; readonly objects: string[] } {
  const objects: string[] = [];
  const execute = (command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> => {
    if (command === 'query-chardev') {
      return Promise.resolve(objects.map((label) => ({ label, filename: 'unix:/connected' })));
    }
    if (command !== 'getfd') objects.push(String(args['node-name'] ?? args['id']));
    return Promise.resolve(undefined);
  };
  // a stand-in for the typed commands: it answers with what each of them expects here
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return { qmp: { version: [10, 0, 2], execute: execute as Qmp['execute'] }, objects };
}
