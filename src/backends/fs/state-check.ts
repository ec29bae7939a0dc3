import { checkName } from '../fuse/names.ts';
import {
  DIRECTORY_TYPE,
  type Inode,
  MAX_INODES,
  MAX_LINKS,
  REGULAR_TYPE,
  ROOT_INODE,
} from './inode-table.ts';
import { StateError, StateReader } from './state-bytes.ts';
import { readState, type SavedContent, type SavedFile, type SavedInode } from './state-format.ts';

/** Most handles of a state: more than a process may have descriptors on usual hosts. */
const MAX_HANDLES = 2 ** 20;
const LARGEST_TYPE = 15;

/** A state that is checked. */
export interface CheckedState {
  /** one more than the highest inode */
  readonly end: Inode;
  readonly files: readonly SavedFile[];
  readonly contents: readonly SavedContent[];
}

/**
 * Checks a state, which may come from anywhere: the order and number of inodes and handles, that directories are directories, and that
 * names are names. Links may form cycles, as those of a live table may when the host moves directories.
 *
 * @returns the parts that are not inodes
 * @throws StateError
 */
export function checkState(state: Uint8Array): CheckedState {
  /** types of inodes, 0: none */
  let types = new Uint8Array(1024);
  let last: Inode = ROOT_INODE;
  const files: SavedFile[] = [];
  const contents: SavedContent[] = [];
  types[ROOT_INODE] = DIRECTORY_TYPE;
  const parents = new Set<Inode>();
  readState(new StateReader(state), {
    root: ({ type }) => check(type === DIRECTORY_TYPE, 'the root is no directory'),
    inode: (saved) => {
      checkInode(saved, last);
      last = saved.inode;
      if (last >= types.length) types = enlarged(types, last);
      types[last] = saved.identity.type;
      for (const { parent } of saved.links) parents.add(parent);
    },
    file: (file) => {
      checkFile(file, files.at(-1)?.handle ?? -1);
      files.push(file);
    },
    content: (content) => {
      const { inode } = content;
      check(inode > (contents.at(-1)?.inode ?? 0), `the content of inode ${inode} is out of order`);
      check(types[inode] === REGULAR_TYPE, `inode ${inode} has content and is no file`);
      contents.push(content);
    },
  });
  for (const parent of parents)
    check(types[parent] === DIRECTORY_TYPE, `inode ${parent} has entries and is no directory`);
  return { end: last + 1, files, contents };
}

function checkInode({ inode, identity: { type }, lookups, links }: SavedInode, last: Inode): void {
  check(inode > last && inode < MAX_INODES, `inode ${inode} is out of order`);
  check(type > 0 && type <= LARGEST_TYPE, `inode ${inode} has the type ${type}`);
  check(Number.isSafeInteger(lookups) && lookups >= 0, `inode ${inode} has ${lookups} references`);
  const most = type === DIRECTORY_TYPE ? 1 : MAX_LINKS;
  check(links.length <= most, `inode ${inode} has ${links.length} names`);
  for (const { name } of links) {
    const error = checkName({ bytes: name, address: 0 }, 'entry');
    check(error === 0 && !name.includes(0), `inode ${inode} has a name that is none`);
  }
}

/** A guest may drop an inode that it has open: such a handle gives ESTALE. */
function checkFile({ handle }: SavedFile, last: number): void {
  check(handle > last && handle < MAX_HANDLES, `handle ${handle} is out of order`);
}

function check(isRight: boolean, message: string): void {
  if (!isRight) throw new StateError(message);
}

function enlarged(types: Uint8Array, atLeast: number): Uint8Array<ArrayBuffer> {
  const longer = new Uint8Array(Math.max(types.length * 2, atLeast + 1));
  longer.set(types);
  return longer;
}
