import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BootSource, MachinePlan } from '../../devices/common/machine-plan.ts';
import type { Step } from '../../devices/common/step.ts';
import { renderArguments } from './arguments.ts';
import { descriptorOf, FDSET, FIRST_DESCRIPTOR, planDescriptors, STATE_FILE } from './descriptors.ts';

const NASTY = '/x, id=y"\'\\\n{}=Ω é/$(id)';

function plan(
  steps: readonly Step[],
  boot: BootSource = { kind: 'firmware', form: 'rom', path: '/fw' },
): MachinePlan {
  return {
    machine: { type: 'pc', properties: { usb: false, 'memory-backend': 'ram' } },
    accelerator: { name: 'tcg', properties: { thread: 'multi' } },
    cpu: { model: 'max', properties: { 'phys-bits': 36, pmu: true } },
    smp: { cpus: 1, maxcpus: 4 },
    memory: { size: 2 ** 29, slots: 0, max: 2 ** 29 },
    numa: [],
    boot,
    steps,
    lateSteps: [],
    smbios: [],
    fwCfg: [],
    debugger: undefined,
    hugePages: true,
    inherited: new Map(),
    incoming: false,
  };
}

function render(steps: readonly Step[], boot?: BootSource): string[] {
  const one = plan(steps, boot);
  return renderArguments(one, planDescriptors(one));
}

/** The values of an option, in order. */
function valuesOf(words: readonly string[], option: string): string[] {
  return words.flatMap((word, i) => (word === option ? [words[i + 1] ?? ''] : []));
}

test('the machine starts stopped, without default devices', () => {
  const words = render([]);
  for (const word of ['-nodefaults', '-no-user-config', '-S']) assert.ok(words.includes(word), word);
  assert.deepEqual(valuesOf(words, '-machine'), ['pc,usb=off,memory-backend=ram']);
  assert.deepEqual(valuesOf(words, '-accel'), ['tcg,thread=multi']);
  assert.deepEqual(valuesOf(words, '-cpu'), ['max,phys-bits=36,pmu=on']);
  assert.deepEqual(valuesOf(words, '-smp'), ['cpus=1,maxcpus=4']);
  assert.deepEqual(valuesOf(words, '-m'), ['536870912b']);
});

for (const [kind, step] of [
  ['object', { kind: 'object', props: { 'qom-type': 'rng-random', id: 'a', filename: NASTY } }],
  ['blockdev', { kind: 'blockdev', props: { driver: 'file', 'node-name': 'a', filename: NASTY } }],
  ['netdev', { kind: 'netdev', props: { type: 'tap', id: 'a', ifname: NASTY } }],
  ['device', { kind: 'device', props: { driver: 'virtio-blk-pci', serial: NASTY } }],
] as const satisfies readonly (readonly [string, Step])[]) {
  test(`a user's text in a ${kind} stays inside one JSON argument`, () => {
    const words = render([step]);
    const [json, ...more] = valuesOf(words, `-${kind}`);
    assert.deepEqual(more, []);
    assert.deepEqual(JSON.parse(json ?? ''), step.props);
    assert.equal(words.length, render([]).length + 2);
  });
}

test('slots and address space for more memory, and NUMA nodes', () => {
  const { boot, ...rest } = plan([]);
  const words = renderArguments(
    {
      ...rest,
      boot,
      memory: { size: 2 ** 29, slots: 8, max: 2 ** 30 },
      numa: [
        {
          kind: 'node',
          node: 0,
          cpus: [
            [0, 2],
            [9, 9],
          ],
          memory: 'ram0',
        },
        { kind: 'node', node: 1, cpus: [], memory: undefined },
        { kind: 'distance', from: 0, to: 1, distance: 15 },
      ],
    },
    planDescriptors(plan([])),
  );
  assert.deepEqual(valuesOf(words, '-m'), ['536870912b,slots=8,maxmem=1073741824b']);
  assert.deepEqual(valuesOf(words, '-numa'), [
    'node,nodeid=0,cpus=0-2,cpus=9-9,memdev=ram0',
    'node,nodeid=1',
    'dist,src=0,dst=1,val=15',
  ]);
});

test('steps are rendered in their order', () => {
  const ids = ['c', 'a', 'b'];
  const words = render(ids.map((id) => ({ kind: 'object', props: { 'qom-type': 'iothread', id } })));
  assert.deepEqual(
    valuesOf(words, '-object').map((json) => (JSON.parse(json) as { id: string }).id),
    ids,
  );
});

test('kernel, initramfs and command line are arguments of their own', () => {
  const words = render([], {
    kind: 'kernel',
    path: NASTY,
    initramfs: `${NASTY}2`,
    cmdline: `a=b,c ${NASTY}`,
    firmware: 'bios-256k.bin',
  });
  assert.deepEqual(valuesOf(words, '-kernel'), [NASTY]);
  assert.deepEqual(valuesOf(words, '-initrd'), [`${NASTY}2`]);
  assert.deepEqual(valuesOf(words, '-append'), [`a=b,c ${NASTY}`]);
  assert.deepEqual(valuesOf(words, '-bios'), ['bios-256k.bin']);
});

test('a kernel without initramfs has no -initrd, firmware no -kernel', () => {
  const none = { initramfs: undefined, cmdline: '', firmware: 'qboot.rom' } as const;
  const kernel = render([], { kind: 'kernel', path: '/k', ...none });
  assert.ok(!kernel.includes('-initrd'));
  assert.deepEqual(valuesOf(kernel, '-append'), ['']);
  const firmware = render([], { kind: 'firmware', form: 'rom', path: NASTY });
  assert.deepEqual(valuesOf(firmware, '-bios'), [NASTY]);
  assert.ok(!firmware.includes('-kernel') && !firmware.includes('-append'));
  const restored = render([], { kind: 'none', firmware: 'qboot.rom' });
  assert.deepEqual(valuesOf(restored, '-bios'), ['qboot.rom']);
  assert.ok(!restored.includes('-kernel'));
});

test('firmware in flash is a node of its own, which the machine names', () => {
  const words = render([], { kind: 'firmware', form: 'flash', path: NASTY });
  assert.deepEqual(valuesOf(words, '-bios'), []);
  assert.deepEqual(valuesOf(words, '-machine'), ['pc,usb=off,memory-backend=ram,pflash0=firmware']);
  const [image = ''] = valuesOf(words, '-blockdev');
  const node = { driver: 'file', 'node-name': 'firmware', filename: NASTY, 'read-only': true };
  assert.deepEqual(JSON.parse(image), node);
});

const CHARDEVS: readonly Step[] = [
  { kind: 'chardev', id: 'none', backend: { type: 'null' } },
  { kind: 'chardev', id: 'file', backend: { type: 'file', path: NASTY } },
  { kind: 'chardev', id: 'line', backend: { type: 'channel', waits: true } },
  { kind: 'chardev', id: 'ring', backend: { type: 'ringbuf' } },
];

test('a console is a descriptor: the path of its file is nowhere on the command line', () => {
  const words = render(CHARDEVS);
  const [qmp, none, file, line, ring] = valuesOf(words, '-chardev');
  assert.equal(qmp, `socket,id=qmp,fd=${FIRST_DESCRIPTOR}`);
  assert.equal(none, 'null,id=none');
  const fd = FIRST_DESCRIPTOR + 1;
  assert.equal(file, `file,id=file,path=/dev/fdset/${fd},append=on`);
  assert.deepEqual(valuesOf(words, '-add-fd'), [`fd=${fd},set=${fd}`]);
  assert.equal(line, `socket,id=line,fd=${FIRST_DESCRIPTOR + 2}`);
  assert.equal(ring, 'ringbuf,id=ring,size=1048576');
  assert.ok(words.every((word) => !word.includes(NASTY)));
});

test('descriptors: QMP first, then those of the steps, in the order of the plan', () => {
  const descriptors = planDescriptors(plan(CHARDEVS));
  assert.deepEqual(descriptors, [
    { use: 'qmp' },
    { use: 'file', id: 'file', path: NASTY },
    { use: 'channel', id: 'line', waits: true },
  ]);
  assert.equal(descriptorOf(descriptors, 'line'), FIRST_DESCRIPTOR + 2);
  assert.throws(() => descriptorOf(descriptors, 'none'), /none/);
  // an id that is called like the control connection's use is another's
  assert.throws(() => descriptorOf(descriptors, 'qmp'), /qmp/);
});

test('inherited files are opened by their descriptors, others by their paths', () => {
  const [kernel, tables, ram] = [`${NASTY}/kernel`, `${NASTY}/tables`, `${NASTY}/ram`];
  const steps: readonly Step[] = [
    { kind: 'object', props: { 'qom-type': 'memory-backend-file', id: 'ram', 'mem-path': ram } },
    { kind: 'object', props: { 'qom-type': 'memory-backend-file', id: 'other', 'mem-path': NASTY } },
  ];
  const one: MachinePlan = {
    ...plan(steps, {
      kind: 'kernel',
      path: kernel,
      initramfs: NASTY,
      cmdline: kernel,
      firmware: 'qboot.rom',
    }),
    smbios: [tables],
    inherited: new Map([
      [kernel, 50],
      [tables, 51],
      [ram, 52],
    ]),
  };
  const descriptors = planDescriptors(one);
  const numbers = descriptors.flatMap((each) => (each.use === 'inherited' ? [each.fd] : []));
  assert.deepEqual(numbers, [50, 51, 52]);
  const words = renderArguments(one, descriptors);
  const path = (n: number): string => `/proc/self/fd/${FIRST_DESCRIPTOR + n}`;
  assert.deepEqual(valuesOf(words, '-kernel'), [path(1)]);
  assert.deepEqual(valuesOf(words, '-initrd'), [NASTY]);
  assert.deepEqual(valuesOf(words, '-append'), [kernel]);
  assert.deepEqual(valuesOf(words, '-smbios'), [`file=${path(2)}`]);
  const objects = valuesOf(words, '-object').map((json) => JSON.parse(json) as Record<string, unknown>);
  assert.deepEqual(
    objects.map((object) => object['mem-path']),
    [path(3), NASTY],
  );
});

test('a passed descriptor is named by its number in QEMU', () => {
  const steps: readonly Step[] = [
    { kind: 'netdev', props: { type: 'tap', id: 'net' }, fds: [40, 41] },
    { kind: 'chardev', id: 'peer', backend: { type: 'descriptor', fd: 42, server: false } },
  ];
  assert.deepEqual(planDescriptors(plan(steps)).slice(1), [
    { use: 'given', id: 'net', fd: 40 },
    { use: 'given', id: 'net', fd: 41 },
    { use: 'given', id: 'peer', fd: 42 },
  ]);
  const words = render(steps);
  assert.deepEqual(JSON.parse(valuesOf(words, '-netdev')[0] ?? ''), { type: 'tap', id: 'net', fds: '4:5' });
  assert.equal(valuesOf(words, '-chardev')[1], 'socket,id=peer,fd=6');
});

test('QEMU inherits the file with the state that it loads, behind all other descriptors', () => {
  const channel: Step = { kind: 'chardev', id: 'a', backend: { type: 'channel', waits: false } };
  const one: MachinePlan = {
    ...plan([channel]),
    inherited: new Map([['/memory', 20]]),
    incoming: true,
    stateFile: 21,
  };
  const descriptors = planDescriptors(one);
  assert.deepEqual(descriptors.at(-1), { use: 'given', id: STATE_FILE, fd: 21 });
  const words = renderArguments(one, descriptors);
  const number = FIRST_DESCRIPTOR + descriptors.length - 1;
  assert.deepEqual(valuesOf(words, '-add-fd'), [`fd=${number},set=${FDSET}`]);
  assert.deepEqual(valuesOf(words, '-incoming'), ['defer']);
});
