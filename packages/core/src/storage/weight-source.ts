/** Where weights come from: named files that are read whole or in parts. */

/** Files by relative name, from a folder, a package or a server. Core never touches a file system itself. */
export interface WeightSource {
  /** The place in words, for error messages. */
  readonly location: string;
  /** Names of the files there. */
  list(): Promise<readonly string[]>;
  /**
   * Content of one file.
   *
   * @param maximumBytes - a longer file may be refused before it is read. @default any length
   * @throws DimoError with code `io` if it is absent.
   */
  read(name: string, maximumBytes?: number): Promise<Uint8Array>;
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
  return source.open ? source.open(name) : bytesAsWeightFile(await source.read(name));
}

/** Bytes that are in memory already, as a file. @param bytes - borrowed until `close`. */
export function bytesAsWeightFile(bytes: Uint8Array): WeightFile {
  return {
    length: bytes.length,
    read: (begin, end) => Promise.resolve(bytes.slice(begin, end)),
    close: () => Promise.resolve(),
  };
}
