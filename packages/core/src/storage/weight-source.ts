/** Where weights come from: named files that are read whole or in parts. */

/** Files by relative name, from a folder, a package or a server. Core never touches a file system itself. */
export interface WeightSource {
  /** The place in words, for error messages. */
  readonly location: string;
  /** Names of the files there. */
  list(): Promise<readonly string[]>;
  /** Content of one file. @throws DimoError with code `io` if it is absent. */
  read(name: string): Promise<Uint8Array>;
  /**
   * One file, to be read in parts; large weights then never lie in memory twice.
   *
   * @default the whole file, read at once
   * @throws DimoError with code `io` if it is absent.
   */
  open?(name: string): Promise<WeightFile>;
}

/** A file that is being read. */
export interface WeightFile {
  /** Bytes. */
  readonly length: number;
  /** Bytes from `begin` to before `end`, in memory of their own. */
  read(begin: number, end: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Opens a file of any source. */
export async function openWeightFile(source: WeightSource, name: string): Promise<WeightFile> {
  if (source.open) return source.open(name);
  const bytes = await source.read(name);
  return {
    length: bytes.length,
    read: (begin, end) => Promise.resolve(bytes.slice(begin, end)),
    close: () => Promise.resolve(),
  };
}
