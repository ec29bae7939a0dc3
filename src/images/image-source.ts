import type { Descriptor } from './manifest.ts';
import type { ArchiveSink } from './store/archive-file.ts';

/** A manifest or an index, by its bytes. */
export interface RootDocument {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

/** The origin of an OCI image: a registry, a layout or an archive. Its results are not verified; import-image.ts verifies them. */
export interface ImageSource {
  /** Name in the store: equal for each way to write it */
  readonly name: string;
  /** Name as the user gave it, for messages */
  readonly shown: string;
  /** State of a local file: the same state has the same content */
  readonly state?: string;
  /** Reads the manifest or index that the name refers to. */
  readonly readRoot: () => Promise<RootDocument>;
  /** Reads a manifest, index or configuration. */
  readonly readDocument: (descriptor: Descriptor, kind: 'manifest' | 'config') => Promise<Buffer>;
  /** Reads the archive of a layer, from `sink.offset` on. */
  readonly fillArchive: (descriptor: Descriptor, sink: ArchiveSink, signal: AbortSignal) => Promise<void>;
}

/** An opened source, with the files or connections that it holds. */
export interface OpenedSource extends AsyncDisposable {
  readonly source: ImageSource;
}
