/** Runs of images for the library: {@link run} starts a VM with an image. run-request.ts describes the folder. */
export { ImageVm, run, type ForkImageOptions, type StartImageOptions } from './image-vm.ts';
export type { RunOptions } from './image-vm-options.ts';
export { RunError, type RunFault } from './errors.ts';
export type { PublishedPort, Volume } from './run-request.ts';
export type { ImageProgress } from '../images/image.ts';
export { ImageError, type ImageFault } from '../images/image-error.ts';
export { GuestToolsError } from './guest-tools/errors.ts';
