/** Pictures that features are made of: those of a folder, or the images of a NumPy archive. */
import { openFileChecked, readFileChecked, withIoError } from '@dimo/backend-node';
import { escapeText, OptionError } from '@dimo/core';
import { imagesOf, readNpz, type PixelBatch } from '@dimo/eval';
import { decodePixels } from '@dimo/pipeline';
import { readdir, stat } from 'node:fs/promises';
import { extname, join, relative, resolve, sep } from 'node:path';

/** Pictures in a fixed order. */
export interface PictureSource {
  /** For messages and tables. */
  readonly name: string;
  readonly count: number;
  /** JSON that changes when the pictures change. */
  readonly identity: unknown;
  /**
   * The pictures from `first` on, in groups.
   *
   * @param size - pictures per group at most.
   */
  pictures(first: number, size: number): AsyncGenerator<readonly PixelBatch[], void>;
  dispose(): Promise<void>;
}

/** Bytes of a file of a picture. */
const maximumPictureBytes = 2 ** 28;
/** Endings of the pictures that are read. */
const endings = new Set(['.png', '.jpg', '.jpeg', '.webp', '.gif']);
/** Files by whose names a folder holds pictures that are not read. */
const otherPictures = new Set(['.bmp', '.tif', '.tiff', '.avif', '.heic', '.jxl']);

/**
 * Pictures of a folder and those below it, or of an archive.
 *
 * @param limit - only the first so many. @default all
 * @throws OptionError if there are none, or fewer than `limit`.
 */
export async function openPictures(path: string, limit?: number): Promise<PictureSource> {
  const found = await withIoError('read', path, () => stat(path));
  const source = found.isDirectory() ? await folderPictures(path) : await archivePictures(path);
  if (limit === undefined || limit === source.count) return source;
  if (limit > source.count) {
    await source.dispose();
    throw new OptionError(`${escapeText(path)} holds ${source.count} pictures, but ${limit} were asked for`, { path });
  }
  return { ...source, count: limit };
}

/**
 * The pixels of a picture in three channels of bytes; opacity is left out, as `convert('RGB')` of Pillow leaves it out. PNG,
 * in which pictures are compared, needs no other package.
 */
async function readPicture(path: string, boundary: string): Promise<PixelBatch> {
  const bytes = await readFileChecked(path, maximumPictureBytes, boundary);
  if (extname(path).toLowerCase() !== '.png') {
    const datasets = await import('@dimo/datasets');
    return { count: 1, channels: 3, ...(await datasets.readPicture(bytes, escapeText(path))) };
  }
  const { shape, data } = decodePixels(bytes, escapeText(path));
  const [height, width, channels] = shape as [number, number, number];
  const pixels = new Uint8Array(height * width * 3);
  for (let i = 0; i < height * width; i++)
    for (let c = 0; c < 3; c++) pixels[i * 3 + c] = Math.round(255 * data[i * channels + (channels < 3 ? 0 : c)]!);
  return { count: 1, height, width, channels: 3, data: pixels };
}

async function folderPictures(folder: string): Promise<PictureSource> {
  const entries = await withIoError('read the folder', folder, () =>
    readdir(folder, { recursive: true, withFileTypes: true }),
  );
  const names = entries
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((name) => !name.split(sep).some((part) => part.startsWith('.')));
  const unread = names.find((name) => otherPictures.has(extname(name).toLowerCase()));
  if (unread !== undefined)
    throw new OptionError(
      `${escapeText(join(folder, unread))} is no PNG, JPEG, WebP or GIF; leaving it out would change the numbers`,
      {
        path: folder,
        hint: 'convert the pictures to PNG',
      },
    );
  // By code units: the same order on every machine.
  const pictures = names.filter((name) => endings.has(extname(name).toLowerCase())).sort((a, b) => (a < b ? -1 : 1));
  if (pictures.length === 0)
    throw new OptionError(`${escapeText(folder)} holds no pictures`, {
      path: folder,
      hint: 'name a folder of PNG, JPEG, WebP or GIF files',
    });
  const facts: unknown[] = [];
  for (const name of pictures) {
    const { size, mtimeMs } = await withIoError('read', join(folder, name), () => stat(join(folder, name)));
    facts.push([name, size, mtimeMs]);
  }
  return {
    name: folder,
    count: pictures.length,
    identity: facts,
    async *pictures(first, size) {
      for (let at = first; at < pictures.length; at += size)
        yield await Promise.all(pictures.slice(at, at + size).map((name) => readPicture(join(folder, name), folder)));
    },
    dispose: () => Promise.resolve(),
  };
}

async function archivePictures(path: string): Promise<PictureSource> {
  const { size, mtimeMs } = await withIoError('read', path, () => stat(path));
  const file = await openFileChecked(path);
  try {
    const array = imagesOf(await readNpz(file, path), path);
    if (!array) throw new OptionError(`${escapeText(path)} holds no images ("arr_0")`, { path });
    const [count, height, width, channels] = array.shape as [number, number, number, number];
    return {
      name: path,
      count,
      identity: [resolve(path), size, mtimeMs],
      async *pictures(first, number) {
        const imageSize = height * width * channels;
        let at = 0;
        for await (const data of array.rows(number)) {
          const rows = data.length / imageSize;
          const skipped = Math.min(rows, Math.max(0, first - at));
          at += rows;
          if (skipped === rows) continue;
          yield [{ count: rows - skipped, height, width, channels, data: data.subarray(skipped * imageSize) }];
        }
      },
      dispose: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}
