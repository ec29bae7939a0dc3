import type { DiskConfig } from './config.ts';
import type { BlockdevStep, StepProps } from '../common/step.ts';

/** One file of a disk's image: the image itself, or one of its backing files. */
export interface ImageLayer {
  readonly path: string;
  /** QEMU's driver, by our own inspection of the file: QEMU is told and never guesses */
  readonly driver: 'raw' | 'qcow2' | 'vpc' | 'vhdx';
  /** a host block device, which QEMU opens by another driver than a file */
  readonly isDevice: boolean;
  /** size of the disk in `bytes` where the file is longer: a footer, or less than a sector at the end */
  readonly visible?: number;
  /** its length does not allow direct I/O: it is opened through the page cache */
  readonly isBuffered?: boolean;
}

/** Sizes that a block device asks its users to heed, in `bytes`. */
export interface BlockGeometry {
  /** the least that can be written */
  readonly logical: number;
  /** the least that is written without reading first */
  readonly physical: number;
  /** preferred sizes of I/O; 0: none */
  readonly minimum: number;
  readonly optimal: number;
}

/** What a disk's image is. */
export interface ImageFacts {
  /** the image first, then its backing file, that one’s and so on; never empty */
  readonly layers: readonly ImageLayer[];
  /** the disk's serial number as the guest sees it */
  readonly serial: string;
  /** of a raw block device */
  readonly geometry?: BlockGeometry | undefined;
  /** how QEMU talks to the host's files */
  readonly aio: 'io_uring' | 'threads';
}

type Access = Pick<DiskConfig, 'readonly' | 'direct' | 'sparse'>;

/**
 * The nodes of an image, the deepest backing file first; the last is called `name`.
 * The VMM gives QEMU each backing file: QEMU never follows a name in a file.
 */
export function imageSteps(
  name: string,
  { readonly, direct, sparse }: Access,
  facts: ImageFacts,
): BlockdevStep[] {
  const nodes = facts.layers.map((layer, depth) => {
    const own = nodeName(name, depth);
    const discard = canDiscard({ readonly, sparse }, facts) && depth === 0 ? { discard: 'unmap' } : {};
    const access = {
      'read-only': readonly || depth > 0,
      cache: { direct: direct && layer.isBuffered !== true },
      ...discard,
    };
    const backing = depth + 1 < facts.layers.length ? nodeName(name, depth + 1) : null;
    return [
      fileNode(own, layer, { ...access, aio: facts.aio }),
      formatNode(own, layer, { backing, ...access }),
    ];
  });
  return nodes.toReversed().flat();
}

/** Whether blocks that the guest discards are given back to the host. QEMU's drivers of VHD and VHDX cannot. */
function canDiscard(
  { readonly, sparse }: Pick<DiskConfig, 'readonly' | 'sparse'>,
  { layers }: ImageFacts,
): boolean {
  const driver = layers[0]?.driver;
  return sparse !== false && !readonly && (driver === 'raw' || driver === 'qcow2');
}

/** What a virtio-blk device tells its guest of the image: whether it may discard, and the sizes of blocks. */
export function imageProperties(
  config: Pick<DiskConfig, 'readonly' | 'sparse'>,
  facts: ImageFacts,
): StepProps {
  const { geometry } = facts;
  return {
    discard: canDiscard(config, facts),
    ...(geometry === undefined
      ? {}
      : {
          logical_block_size: geometry.logical,
          physical_block_size: Math.max(geometry.logical, geometry.physical),
          min_io_size: wholeBlocks(geometry.minimum, geometry.logical),
          opt_io_size: wholeBlocks(geometry.optimal, geometry.logical),
        }),
  };
}

/** QEMU refuses sizes of I/O that are no multiple of a block. */
function wholeBlocks(bytes: number, block: number): number {
  return bytes % block === 0 ? bytes : 0;
}

function nodeName(name: string, depth: number): string {
  return depth === 0 ? name : `${name}.${depth}`;
}

function fileNode(own: string, { path, isDevice }: ImageLayer, access: object): BlockdevStep {
  const driver = isDevice ? 'host_device' : 'file';
  return { kind: 'blockdev', props: { driver, 'node-name': `${own}.file`, filename: path, ...access } };
}

interface FormatAccess {
  /** the node of the backing file */
  readonly backing: string | null;
}

function formatNode(
  own: string,
  { driver, visible }: ImageLayer,
  { backing, ...access }: FormatAccess,
): BlockdevStep {
  return {
    kind: 'blockdev',
    props: {
      driver,
      'node-name': own,
      file: `${own}.file`,
      ...access,
      ...(visible === undefined ? {} : { size: visible }),
      ...(driver === 'qcow2' ? { backing: backing } : {}),
    },
  };
}
