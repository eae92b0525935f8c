/** A model folder that the visitor picked: files of an `<input type="file" webkitdirectory>` or of a drop. */
import { DimoError, escapeText, isStrayFile, OptionError, type WeightFile, type WeightSource } from '@dimo/core';

/** What is read of a `File`. */
export interface PickedFile {
  readonly name: string;
  /** Path from the picked folder, which is its first part; empty for single files. */
  readonly webkitRelativePath?: string;
  readonly size: number;
  slice(begin: number, end: number): { arrayBuffer(): Promise<ArrayBuffer> };
}

/**
 * The picked files as a folder. Names are those below the picked folder; nothing is read before it is asked for.
 *
 * @param files - a `FileList`, or `File` objects.
 * @throws OptionError if there are none, or two of one name.
 */
export function fileListModelFolder(files: Iterable<PickedFile> | ArrayLike<PickedFile>): WeightSource {
  const picked = Array.from(files);
  const first = picked[0];
  if (!first)
    throw new OptionError('fileListModelFolder: no files were picked', { hint: 'pick the folder of a model' });
  const byName = new Map<string, PickedFile>();
  for (const file of picked) {
    const name = nameOf(file);
    if (isStrayFile(name)) continue;
    if (byName.has(name)) throw new OptionError(`fileListModelFolder: two files are called "${escapeText(name)}"`);
    byName.set(name, file);
  }
  const location = first.webkitRelativePath?.split('/')[0] || 'the picked files';

  function find(name: string): PickedFile {
    const file = byName.get(name);
    if (!file)
      throw new DimoError('io', `${escapeText(location)}: there is no file "${escapeText(name)}"`, { path: location });
    return file;
  }

  async function readPart(name: string, begin: number, end: number): Promise<Uint8Array> {
    try {
      return new Uint8Array(await find(name).slice(begin, end).arrayBuffer());
    } catch (cause) {
      if (DimoError.isInstance(cause)) throw cause;
      throw new DimoError('io', `${escapeText(location)}: "${escapeText(name)}" cannot be read: ${String(cause)}`, {
        path: location,
        hint: 'the file was moved or changed since it was picked: pick the folder again',
        cause,
      });
    }
  }

  return {
    location,
    list: () => Promise.resolve([...byName.keys()].sort()),
    read: async (name) => readPart(name, 0, find(name).size),
    open: async (name): Promise<WeightFile> => {
      const { size } = find(name);
      return { length: size, read: (begin, end) => readPart(name, begin, end), close: () => Promise.resolve() };
    },
  };
}

function nameOf({ name, webkitRelativePath }: PickedFile): string {
  const path = webkitRelativePath ?? '';
  return path.includes('/') ? path.slice(path.indexOf('/') + 1) : name;
}
