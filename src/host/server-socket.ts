import { lstatSync, unlinkSync } from 'node:fs';
import { loadNative } from '../util/native.ts';
import { checkPathLength } from './socket-address.ts';
import { askForListener } from './wait-socket.ts';

/**
 * Makes way for a UNIX socket that QEMU is to listen on: it would take away whatever has the path.
 * Rejects with the path and the reason where that is anything but a socket that a killed process has left.
 */
export async function makeWayForSocket(path: string): Promise<void> {
  checkPathLength(path);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw new Error(`${path}: is there already, and is not a socket`);
  if (!(await removeUnusedSocket(path))) throw new Error(`${path}: another program listens there`);
}

/** Removes a socket's file that nobody listens on any more. @returns false where somebody does */
export async function removeUnusedSocket(path: string): Promise<boolean> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return true;
  if (askForListener(await loadNative(), path) === undefined) return false;
  unlinkSync(path);
  return true;
}
