import type { DiskConfig } from './config.ts';
import type { BlockdevStep, StepProps } from '../common/step.ts';

/** One file of a disk's image: the image itself, or one of its backing files. */
export interface ImageLayer {
  readonly path: string;
  /** QEMU's driver; the VMM has inspected the file, and QEMU never probes it */
  readonly driver: 'raw' | 'qcow2' | 'vpc' | 'vhdx';
  /** a host block device, which QEMU opens by another driver than a file */
  readonly isDevice: boolean;
  /** size of the disk in `bytes` if the file is longer: by a footer, or by less than a sector */
  readonly visible?: number;
  /** opened through the page cache, because its length does not allow direct I/O */
  readonly isBuffered?: boolean;
}

/** Block and I/O sizes that a block device reports, in `bytes`. */
export interface BlockGeometry {
  /** smallest unit of a write */
  readonly logical: number;
  /** smallest unit of a write without a read */
  readonly physical: number;
  /** preferred sizes of I/O; 0: none */
  readonly minimum: number;
  readonly optimal: number;
}

/** Host facts of a disk's image. */
export interface ImageFacts {
  /** the image, then its chain of backing files in order; never empty */
  readonly layers: readonly ImageLayer[];
  /** the disk's serial number as the guest sees it */
  readonly serial: string;
  /** sizes of a raw block device */
  readonly geometry?: BlockGeometry | undefined;
  /** QEMU's interface to the files of the host */
  readonly aio: 'io_uring' | 'threads';
}

type Access = Pick<DiskConfig, 'readonly' | 'direct' | 'sparse'>;

/**
 * Returns the block nodes of an image, the deepest backing file first; the last node is called `name`.
 * The VMM passes each backing file to QEMU, which never follows a name in a file.
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

/** Returns true if blocks that the guest discards are freed on the host. QEMU's drivers of VHD and VHDX cannot do that. */
function canDiscard(
  { readonly, sparse }: Pick<DiskConfig, 'readonly' | 'sparse'>,
  { layers }: ImageFacts,
): boolean {
  const driver = layers[0]?.driver;
  return sparse !== false && !readonly && (driver === 'raw' || driver === 'qcow2');
}

/** Returns the properties by which a virtio-blk device describes its image: whether the guest may discard, and the block sizes. */
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

/** Returns an I/O size, or 0 if it is no multiple of a block: QEMU refuses such a size. */
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
