/** `dimo features`: statistics of pictures as a file that others are compared with. */
import { makeFolders } from '@dimo/backend-node';
import { escapeText, OptionError } from '@dimo/core';
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { extractPictures } from '../features/extract.js';
import { openNetwork } from '../features/open-network.js';
import { openPictures } from '../features/pictures.js';
import { referenceOf, writeReferenceFile } from '../features/statistics-file.js';
import { exitOk } from '../output/failure.js';
import { print, printError, printJson } from '../output/terminal.js';

/** Arguments of `features`. */
export interface FeaturesArguments {
  /** Folder, or archive with images. */
  readonly pictures: string;
  readonly features: string | undefined;
  readonly network: string | undefined;
  readonly out: string | undefined;
  /** Only the first so many pictures. */
  readonly count: string | undefined;
  readonly batch: string | undefined;
  readonly threads: string | undefined;
  /** Put the features themselves into the file too. */
  readonly keepsFeatures: boolean;
  readonly work: string | undefined;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Pictures that go through the network at once. */
const defaultBatch = 32;

/** Extracts features and writes their statistics. */
export async function features(args: FeaturesArguments): Promise<number> {
  const { pictures: path, out, quiet, keepsFeatures } = args;
  if (args.features === undefined)
    throw new OptionError('features: name the ONNX file of a feature network with --features');
  if (out === undefined) throw new OptionError('features: name the file to write with --out');
  if (existsSync(out) && !(await stat(out)).isFile())
    throw new OptionError(`features: ${escapeText(out)} is there and is no file`, { path: out });
  const limit = wholeNumber('--count', args.count, 2);
  const batchSize = wholeNumber('--batch', args.batch, 1) ?? defaultBatch;
  const threads = wholeNumber('--threads', args.threads, 1);
  const open = await openNetwork({ features: args.features, network: args.network, threads });
  try {
    const pictures = await openPictures(path, limit);
    try {
      if (pictures.count < 2)
        throw new OptionError(`features: a covariance needs at least 2 pictures, ${escapeText(path)} holds 1`, {
          path,
        });
      const extracted = await extractPictures(pictures, {
        ...{ open, batchSize, work: args.work, quiet, everySeconds: 5 },
        onNote: (line) => void (quiet || printError(line)),
      });
      await makeFolders(dirname(out));
      await writeReferenceFile(out, referenceOf(path, extracted, keepsFeatures));
      const { rows, columns } = extracted.features;
      const { name } = open.network.description;
      if (args.json) printJson({ written: out, count: rows, width: columns, network: name });
      else print(`${rows} pictures, ${columns} features of ${name}\nwritten: ${out}`);
      return exitOk;
    } finally {
      await pictures.dispose();
    }
  } finally {
    await open.dispose();
  }
}

function wholeNumber(flag: string, text: string | undefined, minimum: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value >= minimum) return value;
  throw new OptionError(`${flag} must be an integer of at least ${minimum}, got ${JSON.stringify(text.slice(0, 100))}`);
}
