import { sharedObject } from '../machine-code/shared-object.ts';

/*
 * Library that the SFTP server loads before the C library in an image without /etc/passwd (`ld.so --preload`). The server of OpenSSH
 * exits if its user has no entry there.
 *
 *   `getpwuid`                 gives root, home `/`, for user 0; no entry for others
 */

/** Texts of the entry, behind the code: a name, an end that is the empty password, a path. */
const TEXTS = Buffer.from('root\0/\0');

/** Offset of a text in {@link TEXTS}. */
const [NAME, EMPTY, PATH] = [0, 4, 5];

const ALLOCATE = [
  [0x85, 0xff, 0x74, 0x03], // `test edi, edi; jz root`
  [0x31, 0xc0, 0xc3], // `xor eax, eax; ret`
  [0x31, 0xff], // `root: xor edi, edi`
  [0xbe, 0x30, 0x00, 0x00, 0x00], // `mov esi, 48`: size of `struct passwd`
  [0xba, 0x03, 0x00, 0x00, 0x00], // `mov edx, PROT_READ | PROT_WRITE`
  [0x41, 0xba, 0x22, 0x00, 0x00, 0x00], // `mov r10d, MAP_PRIVATE | MAP_ANONYMOUS`
  [0x49, 0x83, 0xc8, 0xff], // `or r8, -1`
  [0x45, 0x31, 0xc9], // `xor r9d, r9d`
  [0xb8, 0x09, 0x00, 0x00, 0x00, 0x0f, 0x05], // `mmap`
  [0x48, 0x85, 0xc0, 0x79, 0x03], // `test rax, rax; jns fill`
  [0x31, 0xc0, 0xc3], // `xor eax, eax; ret`
];

/** Members of `struct passwd` that are texts, by their offset: name, password, comment, home, shell. */
const MEMBERS = [
  [0, NAME],
  [8, EMPTY],
  [24, NAME],
  [32, PATH],
  [40, PATH],
] as const;

/** `lea rdx, [rip + distance]; mov [rax + member], rdx` */
const MEMBER_BYTES = 11;

/** Returns the code of `getpwuid`. User and group id of the entry are 0, as the new memory is. */
function rootEntry(): Buffer {
  const end = Buffer.from([0xc3]);
  const fill = MEMBERS.map(([offset, text], index) => {
    const code = Buffer.from([0x48, 0x8d, 0x15, 0, 0, 0, 0, 0x48, 0x89, 0x50, offset]);
    const further = (MEMBERS.length - index - 1) * MEMBER_BYTES;
    // from the end of `lea`: the rest of this member, the further ones, `ret`
    code.writeInt32LE(4 + further + end.length + text, 3);
    return code;
  });
  return Buffer.concat([Buffer.from(ALLOCATE.flat()), ...fill, end, TEXTS]);
}

/** Links the library. */
export function linkUsersLibrary(): Buffer {
  return sharedObject(new Map([['getpwuid', rootEntry()]]));
}
