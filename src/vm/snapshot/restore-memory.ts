import { open } from 'node:fs/promises';
import type { MachinePlan } from '../../devices/machine-plan.ts';
import type { MemoryConfig } from '../../devices/memory.ts';
import { needsSharedMemory, type ObjectStep, type Step } from '../../devices/step.ts';
import { copyExtents, touchExtents, type CopyEnd } from '../../host/copy-extents.ts';
import { mappingAt, openMapped, openMemory } from '../../host/process-memory.ts';
import { ramBlocks, type RamBlock } from '../../qemu/ram-blocks.ts';
import type { MappableFile } from '../handed-files.ts';
import type { Run } from '../run.ts';
import { pmemMemory } from './pmem/memory.ts';
import { fileExtents } from './save-memory.ts';
import type { SavedOverlay, SavedRegion } from './saved-machine.ts';

/** Where a restored machine's RAM comes from. */
export interface MemorySource {
  /** the snapshot's file */
  readonly path: string;
  /** regions that are mapped from it, privately: what is written stays the machine's own */
  readonly mapped: readonly SavedRegion[];
  /** regions that are made as at boot and get a copy of what is in the file */
  readonly copied: readonly SavedRegion[];
  /** pages that are copied over the files that other regions are made from */
  readonly overlays: readonly SavedOverlay[];
}

/** What it depends on beside the plan. */
interface MappedFrom {
  readonly memory: MemoryConfig;
  readonly file: Pick<MappableFile, 'isMappable'>;
}

/**
 * Decides for each region. What another process must see cannot be a private mapping, nor can what gives memory back to
 * the host (virtio-mem: it would have to punch holes into the snapshot), nor huge pages.
 */
export function mapMemory(
  { steps, lateSteps }: MachinePlan,
  regions: readonly SavedRegion[],
  { memory, file: { isMappable } }: MappedFrom,
): Pick<MemorySource, 'mapped' | 'copied'> {
  const all = [...steps, ...lateSteps];
  const isShared = !isMappable || isSharedAsAWhole(memory) || needsSharedMemory(all);
  const shrinking = new Set(all.map(virtioMemBackend));
  const isMapped = ({ id }: SavedRegion): boolean => {
    const made = all.find((step) => step.kind === 'object' && step.props.id === id);
    return !isShared && !shrinking.has(id) && made?.kind === 'object' && !isHuge(made);
  };
  return {
    mapped: regions.filter(isMapped),
    copied: regions.filter((region) => !isMapped(region)),
  };
}

function isSharedAsAWhole({ shared, hugepages, zones = [] }: MemoryConfig): boolean {
  return shared || hugepages || zones.some((zone) => zone.shared || zone.hugepages);
}

function virtioMemBackend(step: Step): unknown {
  return step.kind === 'device' && step.props.driver === 'virtio-mem-pci' ? step.props['memdev'] : undefined;
}

function isHuge({ props }: ObjectStep): boolean {
  return props['hugetlb'] === true;
}

/** The plan's steps with the regions that are mapped from the snapshot. */
export function withMapped(
  { steps, lateSteps }: MachinePlan,
  { mapped, path }: MemorySource,
): Pick<MachinePlan, 'steps' | 'lateSteps'> {
  const regions = new Map(mapped.map((region) => [region.id, region]));
  const replace = (step: Step): Step => {
    const region = step.kind === 'object' ? regions.get(step.props.id) : undefined;
    return step.kind !== 'object' || region === undefined ? step : mappedStep(step, region, path);
  };
  return { steps: steps.map(replace), lateSteps: lateSteps.map(replace) };
}

/** Properties of the back-end that mean the same whatever the memory is mapped from. */
const KEPT: ReadonlySet<string> = new Set(['id', 'size', 'merge', 'dump', 'host-nodes', 'policy']);

/** Opened for reading only: not even a mistake of the engine's can change the snapshot. */
function mappedStep({ props }: ObjectStep, { offset }: SavedRegion, path: string): ObjectStep {
  const kept = Object.entries(props).filter(([name]) => KEPT.has(name));
  return {
    kind: 'object',
    props: {
      ...Object.fromEntries(kept),
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

/** Gives the regions that are not mapped their contents; the machine has not run yet. */
export async function fillMemory(run: Run, source: MemorySource): Promise<void> {
  if (source.copied.length + source.overlays.length === 0) return;
  const blocks = await blocksOf(run);
  await using file = await open(source.path, 'r');
  for (const { id, offset, length } of source.copied) {
    const block = blockOf(blocks, id, length);
    const extents = await fileExtents(file, { offset, length });
    await using to = await targetOf(run.qemu.pid, block);
    await copyExtents({ from: { file, base: offset }, to, extents, skipZeros: true });
  }
  for (const { id, offset, length, pages } of source.overlays) {
    const { address } = blockOf(blocks, id, length);
    await using memory = await openMemory(run.qemu.pid, 'r+');
    const to = { file: memory, base: address };
    await copyExtents({ from: { file, base: offset }, to, extents: pages, skipZeros: false });
  }
}

/**
 * A file behind shared memory is written as a file: that is faster, and no page table of QEMU's grows. Files in huge pages
 * cannot be written.
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

/** Loads what is mapped into memory, and into QEMU's page tables; it stays shared with other clones. */
export async function touchMemory(run: Run, source: MemorySource): Promise<void> {
  const blocks = await blocksOf(run);
  await using file = await open(source.path, 'r');
  await using memory = await openMemory(run.qemu.pid, 'r');
  for (const { id, offset, length } of source.mapped) {
    const { address } = blockOf(blocks, id, length);
    await touchExtents({ file: memory, base: address }, await fileExtents(file, { offset, length }));
  }
}

async function blocksOf(run: Run): Promise<ReadonlyMap<string, RamBlock>> {
  const { nameless, discarding } = await pmemMemory(run);
  const blocks = [...(await ramBlocks(run.qemu.qmp)), ...nameless, ...discarding];
  return new Map(blocks.map((block) => [block.name, block]));
}

function blockOf(blocks: ReadonlyMap<string, RamBlock>, id: string, length: number): RamBlock {
  const block = blocks.get(id);
  if (block?.length === length) return block;
  throw new Error(`memory ${id}: the machine has another (${block?.length ?? 'no'} bytes, not ${length})`);
}
