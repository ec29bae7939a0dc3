import type { VmConfig } from '../config/vm-config.ts';
import type { NumaOption } from '../devices/common/machine-plan.ts';
import { growingZones } from '../devices/memory/zones.ts';
import { assemble, dword, type CodePart } from './x86-code.ts';

/*
 * QEMU's ACPI tables (ACPI 6.5, chapter 5) say two things to Linux that are not so:
 *
 * - SRAT: the address range for memory devices counts as RAM that may be added above 4 GiB. Linux sets 64 MiB of bounce buffers (SWIOTLB)
 *   aside for it, in every guest.
 * - MADT: a processor that is absent is merely disabled. From 6.12 on, Linux adds such a processor later only where it knows the
 *   hypervisor, which emulation is not, or where tables of ACPI 6.3 call it "online capable".
 *
 * The guest's firmware puts the tables into RAM, so they can be changed only after it and before the kernel. A short piece of code does
 * that: the kernel's entry point jumps to it, and it jumps back.
 */

/** The changes that a machine needs. */
export interface AcpiPatch {
  /** no RAM can be added: SRAT is emptied. There are no NUMA nodes that it would describe */
  readonly dropsSrat: boolean;
  /** processors with a lower number can be added while the guest runs; undefined: none can */
  readonly processors?: number | undefined;
}

/** Plans the changes; undefined where the tables are right as they are. `numa`: the nodes that QEMU is told of. */
export function planAcpiPatch(
  { cpus, memory }: Pick<VmConfig, 'cpus' | 'memory'>,
  { numa, isEmulated }: { readonly numa: readonly NumaOption[]; readonly isEmulated: boolean },
): AcpiPatch | undefined {
  const grows = (memory.hotplug_size ?? 0) > 0 || growingZones(memory).length > 0;
  const dropsSrat = numa.length === 0 && !grows;
  const processors = isEmulated && cpus.max_vcpus > cpus.boot_vcpus ? cpus.max_vcpus : undefined;
  return dropsSrat || processors !== undefined ? { dropsSrat, processors } : undefined;
}

/** How often each vCPU that can be added can be added: emulation never forgets one that was there. */
const ADDITIONS = 4;
/** Processors that QEMU's tables number with a byte. */
const MAX_PLACES = 254;

/**
 * How many vCPUs QEMU makes room for. Under emulation that is how many it can ever start. The guest can use those that the patch marks, and
 * no others. A topology that the user gives is that of the machine: there is no further place in it.
 */
export function vcpuPlaces(
  { max_vcpus: max, topology }: VmConfig['cpus'],
  patch: AcpiPatch | undefined,
): number {
  if (patch?.processors === undefined || topology !== undefined) return max;
  return max * Math.max(1, Math.min(ADDITIONS, Math.floor(MAX_PLACES / max)));
}

/** RAM that neither qboot nor QEMU uses, and that the kernel is free to use when the code is done. */
export const CODE_ADDRESS = 0x9_0000;

/** The last KiB below 640 KiB is reserved for the firmware (EBDA); qboot has nothing there. The longer FADT needs 276 bytes. */
const FADT_ADDRESS = 0x9_fc80;
const FADT_BYTES = 276;

/** The jump that takes the place of the kernel's first instructions, in `bytes`. */
export const JUMP_BYTES = 5;

/** The instruction at the kernel's entry point that enters the code. */
export function jumpToCode(entry: number): Buffer {
  return Buffer.from([0xe9, ...dword(CODE_ADDRESS - (entry + JUMP_BYTES))]);
}

/**
 * The code for {@link CODE_ADDRESS}. It runs in 32-bit mode without paging, with `ebx` pointing to struct hvm_start_info (Linux,
 * xen/interface/hvm/start_info.h), keeps `ebx`, puts the kernel's first bytes (`original`, {@link JUMP_BYTES} of them) back and
 * enters the kernel.
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

/** A table of its header and 12 reserved bytes: Linux then counts no memory from it. */
const SRAT: readonly CodePart[] = [
  { label: 'SRAT' },
  [0xc7, 0x42, 0x04, ...dword(48)], // mov dword [edx + 4], 48: its length
  { jump: 'always', to: 'checksum' },
];

/** Where `esi` and `edi` are kept meanwhile: behind the code. */
const KEPT_ESI = CODE_ADDRESS + 0x800;
const KEPT_EDI = KEPT_ESI + 4;

/**
 * Revision 5. An absent processor (type 0, bit 0 clear) with a number below `processors` becomes "online capable" (bit 1); those above
 * are left out, and what follows moves up.
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
