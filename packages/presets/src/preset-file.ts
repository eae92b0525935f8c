/** A file of a preset. */
export interface PresetFile {
  /** `file:` in Node; in browsers where the bundler or the server has put it. */
  readonly url: string;
  readonly bytes: number;
  /** 64 lowercase hexadecimal digits. */
  readonly sha256: string;
}
