/** Load address of the program, with its headers. */
const BASE = 0x400000;
const HEADERS = 64 + 56;

/** x86-64 code (Intel SDM volume 2) that copies its standard input to I/O port 0x80. */
const CODE = Buffer.from([
  ...[0xb8, 0xad, 0, 0, 0, 0xbf, 0x80, 0, 0, 0], //  mov eax, ioperm; mov edi, 0x80
  ...[0xbe, 1, 0, 0, 0, 0xba, 1, 0, 0, 0], //        mov esi, 1; mov edx, 1
  ...[0x0f, 0x05, 0x85, 0xc0, 0x75, 0x20], //        syscall; test eax, eax; jnz fail
  ...[0x31, 0xc0, 0x31, 0xff], //              next: xor eax, eax (read); xor edi, edi
  ...[0x48, 0x8d, 0x74, 0x24, 0xf8], //              lea rsi, [rsp - 8]
  ...[0xba, 1, 0, 0, 0, 0x0f, 0x05], //              mov edx, 1; syscall
  ...[0xff, 0xc8, 0x75, 0x08], //                    dec eax; jnz done
  ...[0x8a, 0x44, 0x24, 0xf8, 0xe6, 0x80], //        mov al, [rsp - 8]; out 0x80, al
  ...[0xeb, 0xe4], //                                jmp next
  ...[0x31, 0xff, 0xeb, 0x05], //              done: xor edi, edi; jmp end
  ...[0xbf, 1, 0, 0, 0], //                    fail: mov edi, 1
  ...[0xb8, 60, 0, 0, 0, 0x0f, 0x05], //       end:  mov eax, exit; syscall
]);

/**
 * A shell command that makes `/p80` in the guest, a program that writes each byte of its standard input to I/O port 0x80.
 * Debian's cloud kernel has no /dev/port.
 */
export const MAKE_PORT_PROGRAM = `echo ${program().toString('base64')} | base64 -d > /p80; chmod +x /p80`;

/** The smallest ELF executable: its header, one segment, the code. */
function program(): Buffer {
  const elf = Buffer.alloc(HEADERS);
  // class 64, little endian, version 1
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  // executable, x86-64
  elf.writeUInt16LE(2, 16);
  elf.writeUInt16LE(62, 18);
  elf.writeUInt32LE(1, 20);
  elf.writeUInt32LE(BASE + HEADERS, 24);
  // the program header follows; sizes of both, and their number
  elf.writeUInt32LE(64, 32);
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  const bytes = HEADERS + CODE.length;
  // loaded, to be read and executed: from offset 0 to BASE
  elf.writeUInt32LE(1, 64);
  elf.writeUInt32LE(5, 68);
  elf.writeUInt32LE(BASE, 80);
  elf.writeUInt32LE(BASE, 88);
  elf.writeUInt32LE(bytes, 96);
  elf.writeUInt32LE(bytes, 104);
  elf.writeUInt32LE(0x1000, 112);
  return Buffer.concat([elf, CODE]);
}
