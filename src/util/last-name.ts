/** Returns the last name of a path; empty for a directory as such: `/`, `.`, `..`, or a path that ends with `/.`. */
export function lastName(path: string): string {
  const name = path.replace(/\/+$/, '').split('/').at(-1) ?? '';
  return name === '.' || name === '..' ? '' : name;
}
