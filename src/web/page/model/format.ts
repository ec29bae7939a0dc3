const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Returns a number of bytes with a unit, e.g. `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

/** Returns the title of a request, e.g. `Power button` for `vm.power-button`. */
export function titleOf(name: string): string {
  const words = name.replace(/^vmm?\./, '').replaceAll('-', ' ');
  const title = words.charAt(0).toUpperCase() + words.slice(1);
  return name.startsWith('vmm.') ? `${title} VMM` : title.replace(/^Nmi$/, 'NMI');
}

/** Returns a label of a member, e.g. `boot vcpus` for `boot_vcpus`. */
export function labelOf(name: string): string {
  return name.replaceAll('_', ' ');
}
