import type {
  BootSource,
  FirmwareForm,
  MachinePlan,
  MemoryPlan,
  NumaOption,
  Properties,
} from '../../devices/common/machine-plan.ts';
import {
  RING_BYTES,
  type ChardevStep,
  type NetdevStep,
  type ObjectStep,
  type Step,
} from '../../devices/common/step.ts';
import {
  DEBUGGER,
  descriptorOf,
  descriptorOfFile,
  descriptorsOf,
  FDSET,
  FIRST_DESCRIPTOR,
  pathInQemu,
  STATE_FILE,
  type Descriptor,
} from './descriptors.ts';

/**
 * Renders a plan as QEMU's command line. A user's text is always JSON or an argument of its own: a comma in a path can never
 * become an option. `streamed` are the descriptors of files that QEMU does not write itself.
 */
export function renderArguments(
  plan: MachinePlan,
  descriptors: readonly Descriptor[],
  streamed: ReadonlySet<Descriptor> = new Set(),
): string[] {
  return [
    ['-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    // thread names such as `CPU 0/KVM`, for tools on the host that pin or watch vCPUs
    ['-name', 'debug-threads=on'],
    // at a reset or power-off QEMU reports it and exits, and the VMM decides the consequence; after a panic the guest decides
    ['-action', `reboot=shutdown,shutdown=${hasTpm(plan) ? 'pause' : 'poweroff'},panic=none`],
    ['-machine', keyValues(plan.machine.type, { ...plan.machine.properties, ...flashProperties(plan.boot) })],
    ['-accel', keyValues(plan.accelerator.name, plan.accelerator.properties)],
    ['-cpu', keyValues(plan.cpu.model, plan.cpu.properties)],
    ['-smp', keyValues(undefined, plan.smp)],
    ['-m', memoryArgument(plan.memory)],
    bootArguments(plan.boot, descriptors),
    ...plan.smbios.map((file) => ['-smbios', `file=${pathInQemu(descriptors, file)}`]),
    // the VMM has its own description of the machine, and streams that the VMM assembles have no section for it
    ['-global', 'migration.send-configuration=off'],
    plan.incoming ? ['-incoming', 'defer'] : [],
    plan.stateFile === undefined ? [] : stateFileArguments(descriptors),
    plan.debugger === undefined ? [] : debuggerArguments(descriptors),
    ...plan.fwCfg.map(({ name, file }) => ['-fw_cfg', `name=${name},file=${pathInQemu(descriptors, file)}`]),
    ['-chardev', `socket,id=qmp,fd=${FIRST_DESCRIPTOR}`, '-mon', 'chardev=qmp,mode=control'],
    ...plan.steps.map((step) => stepArguments(step, descriptors, streamed)),
    ...plan.numa.map((option) => ['-numa', numaArgument(option)]),
  ].flat();
}

/** Returns true if the machine has a TPM. At `quit` QEMU would end the emulator of the TPM, so QEMU is killed instead. */
export function hasTpm({ steps }: MachinePlan): boolean {
  return steps.some(({ kind }) => kind === 'tpmdev');
}

/** Returns the arguments for a debugger, which connects to a listening socket of the VMM. */
function debuggerArguments(descriptors: readonly Descriptor[]): string[] {
  const fd = descriptorOf(descriptors, DEBUGGER);
  return ['-chardev', `socket,id=${DEBUGGER},fd=${fd},server=on,wait=off`, '-gdb', `chardev:${DEBUGGER}`];
}

/** Returns the arguments that give the file with the state of the devices a name in QEMU. */
function stateFileArguments(descriptors: readonly Descriptor[]): string[] {
  return ['-add-fd', `fd=${descriptorOf(descriptors, STATE_FILE)},set=${FDSET}`];
}

function memoryArgument({ size, slots, max }: MemoryPlan): string {
  if (max === size) return `${size}b`;
  return keyValues(`${size}b`, { ...(slots === 0 ? {} : { slots }), maxmem: `${max}b` });
}

function numaArgument(option: NumaOption): string {
  if (option.kind === 'distance') {
    return keyValues('dist', { src: option.from, dst: option.to, val: option.distance });
  }
  const cpus = option.cpus.map(([first, last]) => `cpus=${first}-${last}`);
  const memory = option.memory === undefined ? [] : [`memdev=${option.memory}`];
  return ['node', `nodeid=${option.node}`, ...cpus, ...memory].join(',');
}

/** Node of the image in the machine's first flash device, which ends at 4 GiB. */
const FLASH_NODE = 'firmware';

/** Node of the EFI variables in the second flash device, below the first. */
const VARIABLES_NODE = 'variables';

function flashProperties(boot: BootSource): Properties {
  if (boot.kind !== 'firmware' || boot.form !== 'flash') return {};
  return { pflash0: FLASH_NODE, ...(boot.variables !== undefined && { pflash1: VARIABLES_NODE }) };
}

function bootArguments(boot: BootSource, descriptors: readonly Descriptor[]): string[] {
  if (boot.kind === 'none') return ['-bios', boot.firmware];
  const path = pathInQemu(descriptors, boot.path);
  if (boot.kind === 'firmware')
    return [...firmwareArguments(boot.form, path), ...variablesArguments(boot.variables, descriptors)];
  return [
    ...['-bios', boot.firmware, '-kernel', path],
    ...(boot.initramfs === undefined ? [] : ['-initrd', pathInQemu(descriptors, boot.initramfs)]),
    ...['-append', boot.cmdline],
  ];
}

function firmwareArguments(form: FirmwareForm, path: string): string[] {
  if (form === 'rom') return ['-bios', path];
  const image = { driver: 'file', 'node-name': FLASH_NODE, filename: path, 'read-only': true };
  return ['-blockdev', JSON.stringify(image)];
}

/** QEMU uses the descriptor itself: it may lack the rights to open the file again for writing. */
function variablesArguments(path: string | undefined, descriptors: readonly Descriptor[]): string[] {
  if (path === undefined) return [];
  const fd = descriptorOfFile(descriptors, path);
  const image = { driver: 'file', 'node-name': VARIABLES_NODE, filename: `/dev/fdset/${fd}` };
  return ['-add-fd', `fd=${fd},set=${fd}`, '-blockdev', JSON.stringify(image)];
}

function stepArguments(
  step: Step,
  descriptors: readonly Descriptor[],
  streamed: ReadonlySet<Descriptor>,
): string[] {
  switch (step.kind) {
    case 'object':
      return ['-object', JSON.stringify(objectProperties(step, descriptors))];
    case 'blockdev':
    case 'device':
      return [`-${step.kind}`, JSON.stringify(step.props)];
    case 'netdev':
      return netdevArguments(step, descriptors);
    case 'chardev':
      return chardevArguments(step, descriptors, streamed);
    case 'tpmdev':
      return ['-tpmdev', `emulator,id=${step.id},chardev=${step.chardev}`];
  }
}

function objectProperties({ props }: ObjectStep, descriptors: readonly Descriptor[]): ObjectStep['props'] {
  const path = props['mem-path'];
  return typeof path === 'string' ? { ...props, 'mem-path': pathInQemu(descriptors, path) } : props;
}

function netdevArguments({ props, fds }: NetdevStep, descriptors: readonly Descriptor[]): string[] {
  if (fds === undefined) return ['-netdev', JSON.stringify(props)];
  const numbers = descriptorsOf(descriptors, props.id).join(':');
  return ['-netdev', JSON.stringify({ ...props, fds: numbers })];
}

/** Returns the arguments of a chardev. `-chardev` takes no JSON, so it contains only ids and numbers of the VMM. */
function chardevArguments(
  { id, backend }: ChardevStep,
  descriptors: readonly Descriptor[],
  streamed: ReadonlySet<Descriptor>,
): string[] {
  switch (backend.type) {
    case 'null':
      return ['-chardev', `null,id=${id}`];
    case 'ringbuf':
      return ['-chardev', `ringbuf,id=${id},size=${RING_BYTES}`];
    case 'channel': {
      const [fd, file] = descriptorsOf(descriptors, id);
      const channel = `socket,id=${id},fd=${fd}`;
      const one = descriptors.find((other) => other.use === 'file' && other.id === id);
      if (file === undefined || one === undefined || streamed.has(one)) return ['-chardev', channel];
      // `logfile` gets each byte that the socket has taken
      const log = `logfile=/dev/fdset/${file},logappend=on`;
      return ['-add-fd', `fd=${file},set=${file}`, '-chardev', `${channel},${log}`];
    }
    case 'file': {
      const fd = descriptorOf(descriptors, id);
      // without `append` QEMU truncates, which fails for a FIFO or a device; the VMM has truncated the file
      const file = `file,id=${id},path=/dev/fdset/${fd},append=on`;
      return ['-add-fd', `fd=${fd},set=${fd}`, '-chardev', file];
    }
    case 'descriptor': {
      const listens = backend.server ? ',server=on,wait=off' : '';
      return ['-chardev', `socket,id=${id},fd=${descriptorOf(descriptors, id)}${listens}`];
    }
    case 'socket':
      throw new Error(`chardev ${id}: a socket's path can only be passed over QMP`);
  }
}

function keyValues(head: string | undefined, properties: Properties): string {
  const pairs = Object.entries(properties).map(([key, value]) => `${key}=${onOff(value)}`);
  return [...(head === undefined ? [] : [head]), ...pairs].join(',');
}

function onOff(value: string | number | boolean): string {
  return typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
}
