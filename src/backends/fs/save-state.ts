import { type Inode, type InodeTable, ROOT_INODE } from './inode-table.ts';
import type { Share } from './share.ts';
import { StateWriter } from './state-bytes.ts';
import {
  type SavedContent,
  type SavedFile,
  type SavedLink,
  writeContent,
  writeFile,
  writeHeader,
  writeInode,
} from './state-format.ts';
import { eachUnlinked } from './unlinked-files.ts';

/** Bytes of an inode with a name of usual length. */
const INODE_BYTES = 64;

/** Returns all inodes, open files and unlinked files that the guest knows (`state-format.ts`). Nothing changes. */
export function saveState(share: Share): Uint8Array {
  const { table, files } = share;
  const writer = new StateWriter(table.count * INODE_BYTES);
  writeHeader(writer, table.identityOf(ROOT_INODE));
  writer.u32(table.count - 1);
  for (let inode = ROOT_INODE + 1; inode < table.end; inode++) {
    if (!table.has(inode)) continue;
    const links = linksOf(table, inode);
    writeInode(writer, { inode, identity: table.identityOf(inode), lookups: table.lookupsOf(inode), links });
  }
  const open: SavedFile[] = [];
  files.each((handle, { inode, flags, isDirectory }) => open.push({ handle, inode, flags, isDirectory }));
  writer.u32(open.length);
  for (const file of open) writeFile(writer, file);
  const contents: SavedContent[] = [];
  eachUnlinked(share, (content) => contents.push(content));
  writer.u32(contents.length);
  for (const content of contents) writeContent(writer, content);
  return writer.finish();
}

/** Returns the links of an inode, the oldest first. */
function linksOf(table: InodeTable, inode: Inode): SavedLink[] {
  const { links } = table;
  const found: SavedLink[] = [];
  for (let link = table.firstLink(inode); link !== 0; link = links.nextOf(link))
    found.unshift({ parent: links.parentOf(link), name: links.nameBytes(link) });
  return found;
}
