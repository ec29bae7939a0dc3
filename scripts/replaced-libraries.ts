// Empty libraries that QEMU loads instead of those that it does not need (src/qemu/process/replaced-libraries.ts).
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { REPLACED_LIBRARIES } from '../src/qemu/process/replaced-libraries.ts';
import { emptyLibrary, PROCESSORS } from './empty-library.ts';

/** CS_ERR_ARCH of capstone: the disassembler does not know the processor. QEMU then prints the bytes alone. */
const UNKNOWN_PROCESSOR = 2;

/** All functions of capstone 4 and 5: QEMU does not start without one that it uses. */
const FUNCTIONS = `
  cs_close cs_disasm cs_disasm_ex cs_disasm_iter cs_errno cs_free cs_group_name cs_insn_group cs_insn_name cs_malloc cs_op_count
  cs_op_index cs_open cs_option cs_reg_name cs_reg_read cs_reg_write cs_regs_access cs_strerror cs_support cs_version`;

const DISASSEMBLER = {
  ...Object.fromEntries([...FUNCTIONS.matchAll(/cs_\w+/g)].map(([name]) => [name, 0])),
  cs_open: UNKNOWN_PROCESSOR,
};

/** Writes the libraries to a folder for each processor. */
export async function writeReplacedLibraries(folder: string): Promise<void> {
  for (const [name, processor] of Object.entries(PROCESSORS)) {
    await mkdir(join(folder, name), { recursive: true });
    for (const library of REPLACED_LIBRARIES)
      await writeFile(
        join(folder, name, library),
        emptyLibrary({ name: library, functions: DISASSEMBLER }, processor),
      );
  }
}
