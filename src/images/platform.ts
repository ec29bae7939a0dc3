import { ImageError } from './image-error.ts';

/** Platform of an image (OCI image specification, image index). */
export interface Platform {
  readonly os: string;
  /** as Go names it, e.g. `amd64` */
  readonly architecture: string;
  /** e.g. `v8`; that of `arm64` without one is `v8` */
  readonly variant?: string | undefined;
}

/** Go's names of Node's architectures. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** Other names of architectures, as docker accepts them. */
const ALIASES: Readonly<Record<string, string>> = { x86_64: 'amd64', 'x86-64': 'amd64', aarch64: 'arm64' };

/** Returns the platform of this host. */
export function hostPlatform(): Platform {
  return { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch };
}

/** Parses `os/architecture[/variant]`. @throws ImageError `bad-name` */
export function parsePlatform(image: string, text: string): Platform {
  const match = /^([a-z0-9]+)\/([\w-]+)(?:\/(v[0-9]+))?$/.exec(text);
  if (match === null) {
    const reason = `${JSON.stringify(text)} is not a platform; write e.g. linux/amd64 or linux/arm64/v8`;
    throw new ImageError('bad-name', image, reason);
  }
  const [, os = '', architecture = '', variant] = match;
  return { os, architecture: ALIASES[architecture] ?? architecture, variant };
}

/** Returns the text of a platform, e.g. `linux/arm64/v8`. */
export function showPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== undefined && part !== '').join('/');
}

/** Returns the key of a platform: equal platforms have the same. */
export function platformKey(platform: Platform): string {
  return showPlatform({ ...platform, variant: variantOf(platform) });
}

/**
 * Returns the best of several candidates for a platform: of the same variant, else (where none is asked for) without a variant or of
 * the lowest. The first one of several equal ones; undefined where there is none.
 */
export function choosePlatform<T extends { readonly platform?: Platform | undefined }>(
  candidates: readonly T[],
  wanted: Platform,
): T | undefined {
  const matching = candidates.filter(({ platform }) => isSame(platform, wanted));
  const exact = matching.find(({ platform }) => variantOf(platform) === variantOf(wanted));
  if (exact !== undefined || variantOf(wanted) !== undefined) return exact;
  return matching.toSorted((a, b) => variantNumber(a.platform) - variantNumber(b.platform))[0];
}

/** Returns whether a machine of the platform `wanted` can run an image. An image without a platform runs anywhere. */
export function canRun(wanted: Platform, platform: Partial<Platform>): boolean {
  const { os = '', architecture = '' } = platform;
  return (os === '' || os === wanted.os) && (architecture === '' || architecture === wanted.architecture);
}

function isSame(platform: Platform | undefined, wanted: Platform): boolean {
  return platform?.os === wanted.os && platform.architecture === wanted.architecture;
}

function variantOf(platform: Platform | undefined): string | undefined {
  const variant = platform?.variant === '' ? undefined : platform?.variant;
  return variant ?? (platform?.architecture === 'arm64' ? 'v8' : undefined);
}

function variantNumber(platform: Platform | undefined): number {
  return Number(/\d+/.exec(variantOf(platform) ?? '')?.[0] ?? 0);
}
