declare const NEPHOS_VERSION: string;

/** Our own version; written into the bundle by scripts/bundle.ts. */
export const OWN_VERSION: string = typeof NEPHOS_VERSION === 'string' ? NEPHOS_VERSION : 'development';

/**
 * The release of Cloud Hypervisor whose API this is: clients choose their dialect by it
 * (reference/clients.md W17), so it follows the newest dialect that is complete.
 */
export const DIALECT_VERSION = '17.0.0';
