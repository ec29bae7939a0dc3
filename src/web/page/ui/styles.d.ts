// esbuild bundles style sheets that modules import.
declare module '*.css';
