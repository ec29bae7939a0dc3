import type { MachinePlan } from '../../devices/common/machine-plan.ts';
import type { MemoryConfig } from '../../devices/memory/config.ts';
import { needsMapping, needsSharedMemory, type ObjectStep, type Step } from '../../devices/common/step.ts';
import { copyExtents, touchExtents, type Amount, type CopyEnd } from '../../host/memory/copy-extents.ts';
import { mappingAt, openMapped, openMemory } from '../../host/memory/process-memory.ts';
import { ramBlocks, type RamBlock } from '../../qemu/qmp/ram-blocks.ts';
import type { Machine } from '../machine.ts';
import { pmemMemory } from '../devices/pmem/memory.ts';
import { fileExtents } from './save-memory.ts';
import type { NewerPages } from './chain/apply-pages.ts';
import type { OpenFiles } from '../../snapshot-files/open-files.ts';
import type { RegionSource } from '../../snapshot-files/region-source.ts';
import type { SavedOverlay } from '../../snapshot-files/memory-layout.ts';
import type { ZoneRegion } from './zone-files.ts';

/** A region of RAM and the file that holds its contents. */
export interface RamSource {
  readonly id: string;
  /** size of the region, in `bytes` */
  readonly length: number;
  readonly path: string;
  /** offset of the region in the file, in `bytes` */
  readonly offset: number;
}

/** Sources of a restored machine's RAM. */
export interface MemorySource {
  /** the snapshot's file */
  readonly path: string;
  /** regions that are privately mapped from a file: writes of the guest do not change the file */
  readonly mapped: readonly RamSource[];
  /** regions of memory as at boot, into which the contents of the file are copied */
  readonly copied: readonly RamSource[];
  /** pages that are copied over regions in files of memory zones */
  readonly overlays: readonly SavedOverlay[];
  /** pages of differential snapshots over the regions */
  readonly newer: NewerPages;
  /** the files, open */
  readonly files: OpenFiles;
}

/** Facts, in addition to the plan, that decide between a mapping and a copy. */
interface MappedFrom {
  readonly memory: MemoryConfig;
  /** regions that lie in files of memory zones */
  readonly zones: readonly ZoneRegion[];
  /** returns true if QEMU may map a file */
  readonly isMappable: (path: string) => boolean;
  /** back-ends of the VMM can access QEMU's memory without mapping it */
  readonly isAccessible: boolean;
}

/**
 * Decides for each region whether it is mapped or copied. A private mapping is not possible for
 *
 * - RAM that another process maps, or a back-end of the VMM that may not access QEMU's memory,
 * - RAM that the guest can return to the host: virtio-mem would punch holes into the snapshot, and after a report of free pages by a
 *   balloon the guest would read the snapshot's contents where it expects zeros,
 * - huge pages.
 *
 * A shared zone in a file is neither: its file has the contents, so its step stays as planned.
 */
export function mapMemory(
  { steps, lateSteps }: MachinePlan,
  regions: readonly Pick<RegionSource, 'id' | 'length' | 'whole'>[],
  { memory, zones, isMappable, isAccessible }: MappedFrom,
): Pick<MemorySource, 'mapped' | 'copied'> {
  const all = [...steps, ...lateSteps];
  const isMapped = isAccessible ? needsMapping(all) : needsSharedMemory(all);
  const isNeededShared = isMapped || all.some(reportsFreePages);
  const isShared = isNeededShared || isSharedAsAWhole(memory);
  const shrinking = new Set(all.map(virtioMemBackend));
  const canMap = (source: RamSource, shared: boolean): boolean => {
    const made = all.find((step) => step.kind === 'object' && step.props.id === source.id);
    const canBe = made?.kind === 'object' && !isHuge(made) && !shrinking.has(source.id);
    return canBe && !shared && isMappable(source.path);
  };
  const inSnapshot = regions.map(({ id, length, whole }) => ({
    source: { id, length, ...whole },
    shared: isShared,
  }));
  const inZones = zones
    .filter(({ zone }) => !zone.shared)
    .map(({ region: { id, length }, zone }) => ({
      source: { id, length, offset: 0, path: zone.file },
      shared: isNeededShared,
    }));
  const sources = [...inSnapshot, ...inZones];
  return {
    mapped: sources.filter(({ source, shared }) => canMap(source, shared)).map(({ source }) => source),
    copied: sources.filter(({ source, shared }) => !canMap(source, shared)).map(({ source }) => source),
  };
}

function isSharedAsAWhole({ shared, hugepages, zones = [] }: MemoryConfig): boolean {
  return shared || hugepages || zones.some((zone) => zone.shared || zone.hugepages);
}

function reportsFreePages(step: Step): boolean {
  return step.kind === 'device' && step.props['free-page-reporting'] === true;
}

function virtioMemBackend(step: Step): unknown {
  return step.kind === 'device' && step.props.driver === 'virtio-mem-pci' ? step.props['memdev'] : undefined;
}

function isHuge({ props }: ObjectStep): boolean {
  return props['hugetlb'] === true;
}

/** Returns the plan's steps with the mapped regions, and with anonymous memory instead of a zone's file that is copied. */
export function withMapped(
  { steps, lateSteps }: MachinePlan,
  { mapped, copied }: Pick<MemorySource, 'mapped' | 'copied'>,
): Pick<MachinePlan, 'steps' | 'lateSteps'> {
  const sources = new Map(mapped.map((source) => [source.id, source]));
  const zones = new Map(copied.map((source) => [source.id, source.path]));
  const replace = (step: Step): Step => {
    if (step.kind !== 'object') return step;
    const source = sources.get(step.props.id);
    if (source !== undefined) return mappedStep(step, source);
    // a copy into the file would change the RAM of every clone
    const file = zones.get(step.props.id);
    return file !== undefined && step.props['mem-path'] === file ? ownMemoryStep(step) : step;
  };
  return { steps: steps.map(replace), lateSteps: lateSteps.map(replace) };
}

/** Properties of a memory back-end that do not depend on the mapped file. */
const KEPT: ReadonlySet<string> = new Set(['id', 'size', 'merge', 'dump', 'host-nodes', 'policy']);

/** Returns a private mapping of a file that is opened read-only: no fault of QEMU can change the snapshot. */
function mappedStep({ props }: ObjectStep, { offset, path }: RamSource): ObjectStep {
  return {
    kind: 'object',
    props: {
      ...kept(props),
      'qom-type': 'memory-backend-file',
      id: props.id,
      'mem-path': path,
      offset,
      share: false,
      readonly: true,
      rom: 'off',
      reserve: false,
    },
  };
}

function ownMemoryStep({ props }: ObjectStep): ObjectStep {
  return {
    kind: 'object',
    props: { ...kept(props), 'qom-type': 'memory-backend-memfd', id: props.id, share: true },
  };
}

function kept(props: ObjectStep['props']): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(props).filter(([name]) => KEPT.has(name)));
}

/** A load of RAM: its progress, and the signal that aborts it. */
interface Loading {
  readonly amount: Amount;
  readonly signal: AbortSignal;
}

/** Copies the contents of regions that are not mapped into a machine that has not run. */
export async function fillMemory(
  machine: Machine,
  source: MemorySource,
  { amount, signal }: Loading,
): Promise<void> {
  const newer = await source.newer.remaining();
  if (source.copied.length + source.overlays.length + newer.length === 0) return;
  const blocks = await blocksOf(machine);
  for (const { id, offset, length, path } of source.copied) {
    const file = await source.files.open(path);
    const block = blockOf(blocks, id, length);
    const extents = await fileExtents(file, { offset, length });
    await using to = await targetOf(machine.qemu.pid, block);
    await copyExtents({ from: { file, base: offset }, to, extents, skipZeros: true, amount, signal });
  }
  for (const { id, length } of newer) {
    const { address } = blockOf(blocks, id, length);
    await source.newer.apply(id, { pid: machine.qemu.pid, address }, signal);
  }
  if (source.overlays.length === 0) return;
  const file = await source.files.open(source.path);
  for (const { id, offset, length, pages } of source.overlays) {
    const { address } = blockOf(blocks, id, length);
    await using memory = await openMemory(machine.qemu.pid, 'r+');
    const to = { file: memory, base: address };
    await copyExtents({ from: { file, base: offset }, to, extents: pages, skipZeros: false, amount, signal });
  }
}

/**
 * Opens a block for writing. A file behind shared memory is written as a file, which is faster and needs no page tables of QEMU; files in
 * huge pages cannot be written.
 */
async function targetOf(pid: number, { address, huge }: RamBlock): Promise<CopyEnd & AsyncDisposable> {
  const mapping = await mappingAt(pid, address);
  const asFile = mapping.shared && mapping.inode !== 0 && !huge;
  const file = asFile
    ? await openMapped(pid, mapping, 'r+').catch(() => openMemory(pid, 'r+'))
    : await openMemory(pid, 'r+');
  const base = asFile ? mapping.offset + (address - mapping.start) : address;
  return { file, base, [Symbol.asyncDispose]: () => file.close() };
}

/** Loads the mapped regions into memory and QEMU's page tables. Other clones still share the pages. */
export async function touchMemory(
  machine: Machine,
  source: MemorySource,
  { amount, signal }: Loading,
): Promise<void> {
  const blocks = await blocksOf(machine);
  await using memory = await openMemory(machine.qemu.pid, 'r');
  for (const { id, offset, length, path } of source.mapped) {
    const file = await source.files.open(path);
    const { address } = blockOf(blocks, id, length);
    const extents = await fileExtents(file, { offset, length });
    await touchExtents({ file: memory, base: address }, extents, { amount, signal });
  }
}

async function blocksOf(machine: Machine): Promise<ReadonlyMap<string, RamBlock>> {
  const { nameless, discarding } = await pmemMemory(machine);
  const blocks = [...(await ramBlocks(machine.qemu.qmp)), ...nameless, ...discarding];
  return new Map(blocks.map((block) => [block.name, block]));
}

function blockOf(blocks: ReadonlyMap<string, RamBlock>, id: string, length: number): RamBlock {
  const block = blocks.get(id);
  if (block?.length === length) return block;
  throw new Error(`memory ${id}: the machine has another (${block?.length ?? 'no'} bytes, not ${length})`);
}
