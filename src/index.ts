/**
 * Library: `run` starts a VM with an image, `VirtualMachine` one with a configuration of its own, `Client` connects to a running VMM.
 */
export * from './sdk/index.ts';
export * from './run/index.ts';
