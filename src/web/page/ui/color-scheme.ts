/** Calls `onChange` when the user's colours change between light and dark. @returns a function that ends this */
export function onSchemeChange(onChange: () => void): () => void {
  const query = window.matchMedia('(prefers-color-scheme: dark)');
  query.addEventListener('change', onChange);
  return () => query.removeEventListener('change', onChange);
}
