/**
 * The few file operations that checkpoints need. Core knows no file system: a backend package implements this for its
 * platform, and tests implement it in memory to cut the power after every operation.
 */
import type { FileContent, Sha256Stream } from './byte-stream.js';
import type { WeightFile } from './weight-source.js';

/**
 * A folder of checkpoints. Paths are relative to it, with `/`; the empty path is the folder itself. Every operation fails
 * with a `DimoError` of code `io` that names the path and, for a full disk, the bytes needed and free.
 */
export interface CheckpointStore {
  /** The folder in words, for messages. */
  readonly location: string;
  /** Identifies the writing process in the names of temporary folders. */
  readonly processId: number;
  /** Whether a process of this machine still runs. */
  isProcessAlive(processId: number): boolean;
  /** Names in a folder; none if it is absent. */
  list(folder: string): Promise<readonly string[]>;
  /** Makes a folder and its parents; no error if it exists. */
  makeFolder(path: string): Promise<void>;
  /** Writes a file, part by part, and returns when its bytes are on the disk (fsync). */
  writeFile(path: string, content: FileContent): Promise<void>;
  /**
   * Reads a file.
   *
   * @param maximumBytes - a longer file is refused before memory is allocated for it.
   */
  readFile(path: string, maximumBytes: number): Promise<Uint8Array>;
  /** Opens a file to read parts of it. */
  openFile(path: string): Promise<WeightFile>;
  /** Begins a SHA-256. */
  sha256(): Sha256Stream;
  /** Returns when the names in a folder are on the disk (fsync of the folder). */
  syncFolder(path: string): Promise<void>;
  /** Renames a file or folder at once; replaces a file. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file or a folder with its content; no error if it is absent. */
  remove(path: string): Promise<void>;
}
