/**
 * A disk of one MiB whose boot sector writes a text to COM1 and halts, for firmware to boot.
 * (16-bit code: each byte waits for the transmitter, Intel SDM volume 2 for the encodings.)
 */
export function bootSector(text: string): Buffer {
  const code = Buffer.from([
    ...[0xfa], //                   cli
    ...[0x31, 0xc0, 0x8e, 0xd8], // xor ax, ax; mov ds, ax
    ...[0xbe, 0x21, 0x7c], //       mov si, 0x7c21: the text, behind this code
    ...[0xac, 0x84, 0xc0], // next: lodsb; test al, al
    ...[0x74, 0x11], //             jz end
    ...[0x88, 0xc4], //             mov ah, al
    ...[0xba, 0xfd, 0x03], //       mov dx, 0x3fd: line status
    ...[0xec, 0xa8, 0x20], // wait: in al, dx; test al, 0x20
    ...[0x74, 0xfb], //             jz wait
    ...[0x88, 0xe0, 0xb2, 0xf8], // mov al, ah; mov dl, 0xf8: data
    ...[0xee, 0xeb, 0xea], //       out dx, al; jmp next
    ...[0xf4, 0xeb, 0xfd], // end:  hlt; jmp end
  ]);
  return diskOf(code, text);
}

/** The same that does not halt: it writes its text again for each byte that COM1 receives. */
export function echoSector(text: string): Buffer {
  const code = Buffer.from([
    ...[0xfa], //                           cli
    ...[0x31, 0xc0, 0x8e, 0xd8], //         xor ax, ax; mov ds, ax
    ...[0xbe, 0x2d, 0x7c], // start:        mov si, 0x7c2d: the text, behind this code
    ...[0xac, 0x84, 0xc0], // next:         lodsb; test al, al
    ...[0x74, 0x11], //                     jz idle
    ...[0x88, 0xc4], //                     mov ah, al
    ...[0xba, 0xfd, 0x03], //               mov dx, 0x3fd: line status
    ...[0xec, 0xa8, 0x20, 0x74, 0xfb], //   wait: in al, dx; test al, 0x20; jz wait
    ...[0x88, 0xe0, 0xb2, 0xf8], //         mov al, ah; mov dl, 0xf8: data
    ...[0xee, 0xeb, 0xea], //               out dx, al; jmp next
    ...[0xba, 0xfd, 0x03], // idle:         mov dx, 0x3fd
    ...[0xec, 0xa8, 0x01, 0x74, 0xfb], //   poll: in al, dx; test al, 1; jz poll
    ...[0xb2, 0xf8, 0xec], //               mov dl, 0xf8; in al, dx
    ...[0xf3, 0x90, 0xeb, 0xd8], //         pause; jmp start
  ]);
  return diskOf(code, text);
}

/** The same that writes to the debug port, which takes a byte at any time. */
export function debugSector(text: string): Buffer {
  const code = Buffer.from([
    ...[0xfa], //                   cli
    ...[0x31, 0xc0, 0x8e, 0xd8], // xor ax, ax; mov ds, ax
    ...[0xbe, 0x16, 0x7c], //       mov si, 0x7c16: the text, behind this code
    ...[0xba, 0xe9, 0x00], //       mov dx, 0xe9
    ...[0xac, 0x84, 0xc0], // next: lodsb; test al, al
    ...[0x74, 0x03], //             jz end
    ...[0xee, 0xeb, 0xf8], //       out dx, al; jmp next
    ...[0xf4, 0xeb, 0xfd], // end:  hlt; jmp end
  ]);
  return diskOf(code, text);
}

/** A disk whose boot sector resets the machine (reset control register, Intel ICH9 13.7.5). */
export function resetSector(): Buffer {
  const code = Buffer.from([
    ...[0xba, 0xf9, 0x0c], // mov dx, 0xcf9
    ...[0xb0, 0x06, 0xee], // mov al, 6; out dx, al
    ...[0xf4, 0xeb, 0xfd], // end: hlt; jmp end
  ]);
  return diskOf(code, '');
}

function diskOf(code: Buffer, text: string): Buffer {
  const disk = Buffer.alloc(2 ** 20);
  code.copy(disk);
  disk.write(`${text}\0`, code.length, 'latin1');
  disk.writeUInt16LE(0xaa55, 510);
  return disk;
}
