/** An ACPI table's header: length at 4, revision at 8, checksum at 9, OEM revision at 24 (ACPI 6.5, 5.2.6). */
const LENGTH = 4;
const REVISION = 8;
const CHECKSUM = 9;
const OEM_REVISION = 24;

/** Offset of the entries of the APIC table (5.2.12), and bits of a processor's flags. */
const ENTRIES = 44;
const ENABLED = 1;
const ONLINE_CAPABLE = 2;

/** FADT of ACPI 6.3 (5.2.9): its size in bytes, and the offset of the minor version. */
const FADT_BYTES = 276;
const MINOR_REVISION = 131;

/**
 * Returns a prefix of an initramfs with which a guest under emulation accepts hot-plugged vCPUs: Linux reads ACPI tables from it
 * instead of the firmware's. Newer kernels count absent processors only on a hypervisor that they know, or if tables of ACPI 6.3
 * mark them as "online capable". QEMU's tables are older.
 */
export function comingProcessorsArchive(tables: { readonly apic: Buffer; readonly fadt: Buffer }): Buffer {
  return Buffer.concat([
    entry('kernel/firmware/acpi/APIC.aml', newer(onlineCapable(tables.apic), 5)),
    entry('kernel/firmware/acpi/FACP.aml', newer(version63(tables.fadt), 6)),
    entry('TRAILER!!!', Buffer.alloc(0)),
  ]);
}

function onlineCapable(apic: Buffer): Buffer {
  const table = Buffer.from(apic);
  for (let at = ENTRIES; at < table.length; at += table.readUInt8(at + 1)) {
    if (table.readUInt8(at) !== 0) continue;
    const flags = table.readUInt32LE(at + 4);
    if ((flags & ENABLED) === 0) table.writeUInt32LE(flags | ONLINE_CAPABLE, at + 4);
  }
  return table;
}

function version63(fadt: Buffer): Buffer {
  const table = Buffer.concat([fadt, Buffer.alloc(Math.max(0, FADT_BYTES - fadt.length))]);
  table.writeUInt8(3, MINOR_REVISION);
  return table;
}

/** Raises the revision of a table: only a newer table replaces that of the firmware. */
function newer(table: Buffer, revision: number): Buffer {
  table.writeUInt32LE(table.length, LENGTH);
  table.writeUInt8(revision, REVISION);
  table.writeUInt32LE(table.readUInt32LE(OEM_REVISION) + 1, OEM_REVISION);
  table.writeUInt8(0, CHECKSUM);
  const sum = table.reduce((total, byte) => total + byte, 0);
  table.writeUInt8((256 - (sum % 256)) % 256, CHECKSUM);
  return table;
}

/** Returns a file of a cpio archive (newc). */
function entry(name: string, bytes: Buffer): Buffer {
  const hex = (value: number): string => value.toString(16).padStart(8, '0');
  const fields = [1, 0o100644, 0, 0, 1, 0, bytes.length, 0, 0, 0, 0, name.length + 1, 0];
  const head = Buffer.from(`070701${fields.map(hex).join('')}${name}\0`, 'latin1');
  return Buffer.concat([aligned(head), aligned(bytes)]);
}

function aligned(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}
