import type { VmConfig } from '../../config/vm-config.ts';
import { openMemory } from '../../host/memory/process-memory.ts';
import {
  acpiPatchCode,
  CODE_ADDRESS,
  JUMP_BYTES,
  jumpToCode,
  planAcpiPatch,
  type AcpiPatch,
} from '../../plan/acpi-patch.ts';
import { usesAcpi } from '../../plan/kernel-command-line.ts';
import { layOutMemory } from '../../plan/memory-layout.ts';
import type { HostFacts } from '../../plan/machine-plan.ts';
import { hostAddress } from '../../qemu/qmp/ram-blocks.ts';
import type { Machine } from '../machine.ts';

/**
 * Returns the changes of the ACPI tables for a machine that boots. They are made at the kernel's entry point, which is known only for
 * Linux that qboot enters by PVH. `NEPHOS_ACPI=off` keeps all tables of QEMU.
 */
export function chooseAcpiPatch(
  config: VmConfig,
  { kernel, accelerator }: Pick<HostFacts, 'kernel' | 'accelerator'>,
): AcpiPatch | undefined {
  if (process.platform !== 'linux' || process.env['NEPHOS_ACPI'] === 'off') return undefined;
  if (kernel.kind !== 'linux' || kernel.entry === undefined || !usesAcpi(config.cmdline.args))
    return undefined;
  return planAcpiPatch(config, { numa: layOutMemory(config).numa, isEmulated: accelerator.name === 'tcg' });
}

/** Writes the code that changes the tables in front of the kernel of a machine that has not run. */
export async function patchAcpiTables(machine: Machine): Promise<void> {
  const { acpiPatch: patch, kernelEntry: entry, qemu } = machine;
  if (patch === undefined || entry === undefined) return;
  await using memory = await openMemory(qemu.pid, 'r+');
  const entryAt = await hostAddress(qemu.qmp, entry);
  const codeAt = await hostAddress(qemu.qmp, CODE_ADDRESS);
  const original = Buffer.alloc(JUMP_BYTES);
  await memory.read(original, 0, JUMP_BYTES, entryAt);
  const code = acpiPatchCode(patch, entry, original);
  await memory.write(code, 0, code.length, codeAt);
  await memory.write(jumpToCode(entry), 0, JUMP_BYTES, entryAt);
}
