import type { DiskConfig } from './disk.ts';
import type { BlockdevStep } from './step.ts';

/** One file of a disk's image: the image itself, or one that it is based on. */
export interface ImageLayer {
  readonly path: string;
  /** the engine's driver, by our own look at the file: the engine is told and never guesses */
  readonly driver: 'raw' | 'qcow2' | 'vpc' | 'vhdx';
  /** a host block device, which the engine opens by another driver than a file */
  readonly isDevice: boolean;
  /** size of the disk in `bytes` where the file is longer: a footer, or less than a sector at the end */
  readonly visible?: number;
}

/** What a disk's image is. */
export interface ImageFacts {
  /** the image first, then what it is based on, each on the next; never empty */
  readonly layers: readonly ImageLayer[];
  /** the disk's serial number as the guest sees it */
  readonly serial: string;
  /** how the engine talks to the host's files */
  readonly aio: 'io_uring' | 'threads';
}

type Access = Pick<DiskConfig, 'readonly' | 'direct'>;

/**
 * The nodes of an image, the deepest base first; the last is called `name`.
 * What each file is based on is given by us: the engine never follows a name that it finds in a file.
 */
export function imageSteps(name: string, { readonly, direct }: Access, facts: ImageFacts): BlockdevStep[] {
  const nodes = facts.layers.map((layer, depth) => {
    const own = nodeName(name, depth);
    const access = { 'read-only': readonly || depth > 0, cache: { direct } };
    const base = depth + 1 < facts.layers.length ? nodeName(name, depth + 1) : null;
    return [fileNode(own, layer, { ...access, aio: facts.aio }), formatNode(own, layer, { base, ...access })];
  });
  return nodes.toReversed().flat();
}

function nodeName(name: string, depth: number): string {
  return depth === 0 ? name : `${name}.${depth}`;
}

function fileNode(own: string, { path, isDevice }: ImageLayer, access: object): BlockdevStep {
  const driver = isDevice ? 'host_device' : 'file';
  return { kind: 'blockdev', props: { driver, 'node-name': `${own}.file`, filename: path, ...access } };
}

interface FormatAccess {
  /** the node that this one is based on */
  readonly base: string | null;
}

function formatNode(
  own: string,
  { driver, visible }: ImageLayer,
  { base, ...access }: FormatAccess,
): BlockdevStep {
  return {
    kind: 'blockdev',
    props: {
      driver,
      'node-name': own,
      file: `${own}.file`,
      ...access,
      ...(visible === undefined ? {} : { size: visible }),
      ...(driver === 'qcow2' ? { backing: base } : {}),
    },
  };
}
