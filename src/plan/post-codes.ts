import type { Step } from '../devices/common/step.ts';

/** I/O port that firmware and kernels write the stage of the boot to, a byte each: the POST code. */
export const POST_CODE_PORT = 0x80;

/** Id of the port's channel. No device of a configuration can have it in QEMU's alphabet. */
export const POST_CODES = 'post-codes';

/** Makes the port's bytes a channel to the VMM. Reads are answered as without a device, with all bits set. */
export const POST_CODE_STEPS: readonly Step[] = [
  { kind: 'chardev', id: POST_CODES, backend: { type: 'channel', waits: false } },
  {
    kind: 'device',
    props: { driver: 'isa-debugcon', iobase: POST_CODE_PORT, readback: 0xff, chardev: POST_CODES },
  },
];
