declare const NEPHOS_VERSION: string;

/** Our own version; written into the bundle by scripts/bundle.ts. */
export const OWN_VERSION: string = typeof NEPHOS_VERSION === 'string' ? NEPHOS_VERSION : 'development';

/**
 * The release of Cloud Hypervisor whose API this is. Clients choose their dialect by it, so it follows the newest dialect
 * whose fields are there: from 36 on libvirt asks for a serial port on a socket, from 40 on it sends TAPs with vm.restore.
 */
export const DIALECT_VERSION = '40.0.0';
