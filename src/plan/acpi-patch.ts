import type { VmConfig } from '../config/vm-config.ts';
import type { NumaOption } from '../devices/common/machine-plan.ts';
import { growingZones } from '../devices/memory/zones.ts';
import { assemble, dword, type CodePart } from './x86-code.ts';

/*
 * Two of QEMU's ACPI tables (ACPI 6.5, chapter 5) are wrong for Linux:
 *
 * - SRAT describes the address range of memory devices as RAM that may be added above 4 GiB. Linux reserves 64 MiB of bounce
 *   buffers (SWIOTLB) for it, in every guest.
 * - MADT marks an absent processor as disabled only. Since 6.12, Linux adds such a processor later only if it knows the
 *   hypervisor, or if the tables are of ACPI 6.3 and mark the processor as "online capable". Linux does not know emulation.
 *
 * The guest's firmware writes the tables into RAM. They must be changed after that and before the kernel runs. A short piece of
 * code does it: the kernel's entry point jumps to the code, and the code jumps back.
 */

/** Changes that a machine's tables need. */
export interface AcpiPatch {
  /** SRAT is emptied: no RAM can be added, and there are no NUMA nodes to describe */
  readonly dropsSrat: boolean;
  /** processors with a lower number can be added to a running guest; undefined: none can */
  readonly processors?: number | undefined;
}

/** Plans the changes; undefined if the tables are right. `numa`: QEMU's NUMA options. */
export function planAcpiPatch(
  { cpus, memory }: Pick<VmConfig, 'cpus' | 'memory'>,
  { numa, isEmulated }: { readonly numa: readonly NumaOption[]; readonly isEmulated: boolean },
): AcpiPatch | undefined {
  const grows = (memory.hotplug_size ?? 0) > 0 || growingZones(memory).length > 0;
  const dropsSrat = numa.length === 0 && !grows;
  const processors = isEmulated && cpus.max_vcpus > cpus.boot_vcpus ? cpus.max_vcpus : undefined;
  return dropsSrat || processors !== undefined ? { dropsSrat, processors } : undefined;
}

/** Times that each hot-pluggable vCPU can be added: under emulation QEMU cannot use the place of a removed vCPU again. */
const ADDITIONS = 4;
/** Processors that QEMU's tables number with a byte. */
const MAX_PLACES = 254;

/**
 * Number of vCPUs that QEMU reserves places for. Under emulation it is the number that QEMU can start before its exit. The
 * guest can use the places that the patch marks. A topology in the configuration is the machine's: it has no further places.
 */
export function vcpuPlaces(
  { max_vcpus: max, topology }: VmConfig['cpus'],
  patch: AcpiPatch | undefined,
): number {
  if (patch?.processors === undefined || topology !== undefined) return max;
  return max * Math.max(1, Math.min(ADDITIONS, Math.floor(MAX_PLACES / max)));
}

/** Address in RAM that neither qboot nor QEMU uses. The kernel may use it after the code has run. */
export const CODE_ADDRESS = 0x9_0000;

/** In the last KiB below 640 KiB, which is reserved for the firmware (EBDA); qboot does not use it. The longer FADT has 276 bytes. */
const FADT_ADDRESS = 0x9_fc80;
const FADT_BYTES = 276;

/** Size in `bytes` of the jump that replaces the kernel's first instructions. */
export const JUMP_BYTES = 5;

/** Returns the instruction for the kernel's entry point that jumps to the code. */
export function jumpToCode(entry: number): Buffer {
  return Buffer.from([0xe9, ...dword(CODE_ADDRESS - (entry + JUMP_BYTES))]);
}

/**
 * Returns the code for {@link CODE_ADDRESS}. It runs in 32-bit mode without paging; `ebx` points to struct hvm_start_info (Linux,
 * xen/interface/hvm/start_info.h). It preserves `ebx`, restores the kernel's first {@link JUMP_BYTES} bytes (`original`) and
 * jumps to the kernel's entry point.
 */
export function acpiPatchCode(patch: AcpiPatch, entry: number, original: Buffer): Buffer {
  return assemble([
    [0x8b, 0x53, 0x20], // mov edx, [ebx + 32]: RSDP
    [0x80, 0x7a, 0x0f, 0x00], // cmp byte [edx + 15], 0: revision 0 has no XSDT beside the RSDT
    { jump: 'ifNotEqual', to: 'enter' },
    [0x8b, 0x72, 0x10], // mov esi, [edx + 16]: RSDT
    [0x8b, 0x7e, 0x04], // mov edi, [esi + 4]: its length
    [0x01, 0xf7], // add edi, esi: its end
    [0x83, 0xc6, 0x24], // add esi, 36: its first entry
    { label: 'next' },
    [0x39, 0xfe], // cmp esi, edi
    { jump: 'ifNotBelow', to: 'last' },
    [0x8b, 0x16], // mov edx, [esi]: a table
    [0x83, 0xc6, 0x04], // add esi, 4
    [0x8b, 0x02], // mov eax, [edx]: its signature
    ...(patch.dropsSrat ? ifSignature('SRAT') : []),
    ...(patch.processors === undefined ? [] : [...ifSignature('APIC'), ...ifSignature('FACP')]),
    { jump: 'always', to: 'next' },
    ...(patch.dropsSrat ? SRAT : []),
    ...(patch.processors === undefined ? [] : [...madt(patch.processors), ...FADT]),
    ...CHECKSUMS,
    { label: 'enter' },
    [0xc7, 0x05, ...dword(entry), ...original.subarray(0, 4)], // mov dword [entry], ...
    [0xc6, 0x05, ...dword(entry + 4), ...original.subarray(4, JUMP_BYTES)], // mov byte [entry + 4], ...
    [0xb8, ...dword(entry)], // mov eax, entry
    [0xff, 0xe0], // jmp eax
  ]);
}

function ifSignature(signature: 'SRAT' | 'APIC' | 'FACP'): CodePart[] {
  return [
    [0x3d, ...Buffer.from(signature, 'latin1')], // cmp eax, signature
    { jump: 'ifEqual', to: signature },
  ];
}

/** Reduces SRAT to its header and 12 reserved bytes: it then describes no memory. */
const SRAT: readonly CodePart[] = [
  { label: 'SRAT' },
  [0xc7, 0x42, 0x04, ...dword(48)], // mov dword [edx + 4], 48: its length
  { jump: 'always', to: 'checksum' },
];

/** Addresses behind the code that hold `esi` and `edi` meanwhile. */
const KEPT_ESI = CODE_ADDRESS + 0x800;
const KEPT_EDI = KEPT_ESI + 4;

/**
 * Revision 5. An absent processor (type 0, bit 0 clear) with a number below `processors` becomes "online capable" (bit 1); those above
 * are removed, and the following entries move up.
 */
function madt(processors: number): CodePart[] {
  return [
    { label: 'APIC' },
    [0xc6, 0x42, 0x08, 0x05], // mov byte [edx + 8], 5: its revision
    [0x89, 0x35, ...dword(KEPT_ESI)], // mov [KEPT_ESI], esi
    [0x89, 0x3d, ...dword(KEPT_EDI)], // mov [KEPT_EDI], edi
    [0x8b, 0x42, 0x04], // mov eax, [edx + 4]: its length
    [0x01, 0xd0], // add eax, edx: its end
    [0x8d, 0x72, 0x2c], // lea esi, [edx + 44]: its first entry
    [0x89, 0xf7], // mov edi, esi: where the entry goes
    [0xfc], // cld
    { label: 'entry' },
    [0x39, 0xc6], // cmp esi, eax
    { jump: 'ifNotBelow', to: 'shorten' },
    [0x0f, 0xb6, 0x4e, 0x01], // movzx ecx, byte [esi + 1]: its length
    [0x80, 0x3e, 0x00], // cmp byte [esi], 0: its type
    { jump: 'ifNotEqual', to: 'keep' },
    [0x80, 0x7e, 0x02, processors], // cmp byte [esi + 2], processors: its number
    { jump: 'ifNotBelow', to: 'leave out' },
    [0xf6, 0x46, 0x04, 0x01], // test byte [esi + 4], 1: its flags
    { jump: 'ifNotEqual', to: 'keep' },
    [0x80, 0x4e, 0x04, 0x02], // or byte [esi + 4], 2
    { label: 'keep' },
    [0xf3, 0xa4], // rep movsb
    { jump: 'always', to: 'entry' },
    { label: 'leave out' },
    [0x01, 0xce], // add esi, ecx
    { jump: 'always', to: 'entry' },
    { label: 'shorten' },
    [0x29, 0xd7], // sub edi, edx
    [0x89, 0x7a, 0x04], // mov [edx + 4], edi: its length
    [0x8b, 0x35, ...dword(KEPT_ESI)], // mov esi, [KEPT_ESI]
    [0x8b, 0x3d, ...dword(KEPT_EDI)], // mov edi, [KEPT_EDI]
    { jump: 'always', to: 'checksum' },
  ];
}

/** A copy of the FADT with the length and version of ACPI 6.3, zero beyond QEMU's: only then Linux heeds "online capable". */
const FADT: readonly CodePart[] = [
  { label: 'FACP' },
  [0xbd, ...dword(FADT_ADDRESS)], // mov ebp, FADT_ADDRESS
  [0x31, 0xc9], // xor ecx, ecx
  { label: 'byte' },
  [0x31, 0xc0], // xor eax, eax
  [0x3b, 0x4a, 0x04], // cmp ecx, [edx + 4]: its length
  { jump: 'ifNotBelow', to: 'store' },
  [0x8a, 0x04, 0x0a], // mov al, [edx + ecx]
  { label: 'store' },
  [0x88, 0x44, 0x0d, 0x00], // mov [ebp + ecx], al
  [0x41], // inc ecx
  [0x81, 0xf9, ...dword(FADT_BYTES)], // cmp ecx, FADT_BYTES
  { jump: 'ifBelow', to: 'byte' },
  [0x89, 0xea], // mov edx, ebp
  [0x89, 0x56, 0xfc], // mov [esi - 4], edx: the RSDT's entry
  [0xc7, 0x42, 0x04, ...dword(FADT_BYTES)], // mov dword [edx + 4], FADT_BYTES
  [0xc6, 0x42, 0x08, 0x06], // mov byte [edx + 8], 6: its revision
  [0xc6, 0x82, ...dword(131), 0x03], // mov byte [edx + 131], 3: its minor revision
  { jump: 'always', to: 'checksum' },
];

/** Makes the bytes of the table at `edx` add up to 0; after the last table those of the RSDT. */
const CHECKSUMS: readonly CodePart[] = [
  { label: 'last' },
  [0x8b, 0x53, 0x20], // mov edx, [ebx + 32]: RSDP
  [0x8b, 0x52, 0x10], // mov edx, [edx + 16]: RSDT
  [0x31, 0xff], // xor edi, edi: there is no next table
  { label: 'checksum' },
  [0xc6, 0x42, 0x09, 0x00], // mov byte [edx + 9], 0
  [0x31, 0xc0], // xor eax, eax
  [0x8b, 0x4a, 0x04], // mov ecx, [edx + 4]: its length
  { label: 'sum' },
  [0x2a, 0x44, 0x0a, 0xff], // sub al, [edx + ecx - 1]
  [0x49], // dec ecx
  { jump: 'ifNotEqual', to: 'sum' },
  [0x88, 0x42, 0x09], // mov [edx + 9], al
  [0x85, 0xff], // test edi, edi
  { jump: 'ifNotEqual', to: 'next' },
];
