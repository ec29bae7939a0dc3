import { interfaceAttribute } from './network-interface.ts';

/** Traffic of a guest over an interface, in the guest's directions: frames without the virtio header. */
export interface FrameCounters extends Readonly<Record<string, number>> {
  readonly rx_bytes: number;
  readonly rx_frames: number;
  readonly tx_bytes: number;
  readonly tx_frames: number;
}

/** Counts from now on: an existing interface has counted earlier frames. @returns reads the counters */
export function countFrames(name: string): () => FrameCounters {
  const start = read(name);
  return () => {
    const now = read(name);
    return {
      rx_bytes: now.rx_bytes - start.rx_bytes,
      rx_frames: now.rx_frames - start.rx_frames,
      tx_bytes: now.tx_bytes - start.tx_bytes,
      tx_frames: now.tx_frames - start.tx_frames,
    };
  };
}

/** Reads the kernel's counters. The guest receives the frames that a TAP sends; a macvtap counts in the guest's directions. */
function read(name: string): FrameCounters {
  const isTap = interfaceAttribute(name, 'tun_flags') !== undefined;
  const [received, sent] = isTap ? (['tx', 'rx'] as const) : (['rx', 'tx'] as const);
  const statistic = (which: string): number => Number(interfaceAttribute(name, `statistics/${which}`) ?? 0);
  return {
    rx_bytes: statistic(`${received}_bytes`),
    rx_frames: statistic(`${received}_packets`),
    tx_bytes: statistic(`${sent}_bytes`),
    tx_frames: statistic(`${sent}_packets`),
  };
}
