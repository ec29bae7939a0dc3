declare const NEPHOS_VERSION: string;

/** Version of Nephos; scripts/bundle.ts writes it into the bundle. */
export const OWN_VERSION: string = typeof NEPHOS_VERSION === 'string' ? NEPHOS_VERSION : 'development';

/**
 * Release of Cloud Hypervisor whose API Nephos has. Clients choose their requests by it, so it is the newest release whose
 * fields are supported: from 36 on libvirt requests a serial port on a socket, from 40 on it sends TAPs with vm.restore.
 */
export const DIALECT_VERSION = '40.0.0';
