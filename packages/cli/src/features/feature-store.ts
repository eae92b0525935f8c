/**
 * Features on the disk, which grow while they are computed: a killed process leaves whole rows behind, and the same command
 * goes on after them. The folder is named by everything that the features depend on, so others never mix.
 */
import { acquireRunLock, makeFolders, readFileChecked, withIoError, writeFileAtomically } from '@dimo/backend-node';
import { decodeText, isRecord } from '@dimo/core';
import type { NetworkFeatures } from '@dimo/eval';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What a network says about an image, each in a file of its own. */
const parts = ['features', 'probabilities', 'spatial'] as const;
type Part = (typeof parts)[number];

/** Numbers per image of each part. */
type Widths = Readonly<Partial<Record<Part, number>>>;

/** Features of some pictures, whole or begun. */
export interface FeatureStore {
  readonly folder: string;
  /** Images whose features are there. */
  rows(): number;
  append(features: NetworkFeatures): Promise<void>;
  /** The features of the first `count` images. */
  read(count: number): Promise<NetworkFeatures>;
  close(): Promise<void>;
}

const factsName = 'features.json';
const fileName = (part: Part): string => `${part}.f32`;
const bytesPerNumber = 4;
/** Bytes that are read at once. */
const readBytes = 2 ** 24;

/** Key of everything that features depend on: 16 hexadecimal digits. @param facts - JSON. */
export function featureKey(facts: unknown): string {
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16);
}

/**
 * Opens the features in a folder to go on with them; the folder is made if it is absent, and emptied if what is there was
 * made otherwise or has been damaged.
 *
 * @param facts - JSON of what they depend on.
 * @throws DimoError with code `locked` if another process works on them.
 */
export async function openFeatureStore(folder: string, facts: unknown): Promise<FeatureStore> {
  await makeFolders(folder);
  const lock = await acquireRunLock(folder);
  try {
    let widths = await knownWidths(folder, facts);
    if (!widths) for (const name of [factsName, ...parts.map(fileName)]) await rm(join(folder, name), { force: true });
    let rows = widths ? await wholeRows(folder, widths) : 0;
    return {
      folder,
      rows: () => rows,
      async append(features) {
        const matrices = parts.flatMap((part) => (features[part] ? [{ part, matrix: features[part] }] : []));
        if (!widths) {
          widths = Object.fromEntries(matrices.map(({ part, matrix }) => [part, matrix.columns]));
          await writeFileAtomically(join(folder, factsName), `${JSON.stringify({ facts, widths })}\n`);
        }
        for (const { part, matrix } of matrices) {
          const data = Float32Array.from(matrix.data);
          await appendAt(join(folder, fileName(part)), rows * matrix.columns * bytesPerNumber, data);
        }
        rows += features.features.rows;
      },
      async read(count) {
        const result: Partial<Record<Part, NetworkFeatures['features']>> = {};
        for (const [part, columns] of Object.entries(widths ?? {}) as [Part, number][])
          result[part] = {
            rows: count,
            columns,
            data: await readNumbers(join(folder, fileName(part)), count * columns),
          };
        return result as NetworkFeatures;
      },
      close: () => lock.release(),
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function knownWidths(folder: string, facts: unknown): Promise<Widths | undefined> {
  const path = join(folder, factsName);
  if (!existsSync(path)) return undefined;
  try {
    const known: unknown = JSON.parse(decodeText(await readFileChecked(path), path));
    if (!isRecord(known) || !isRecord(known['widths'])) return undefined;
    if (JSON.stringify(known['facts']) !== JSON.stringify(facts)) return undefined;
    const widths = known['widths'] as Widths;
    return typeof widths.features === 'number' ? widths : undefined;
  } catch {
    return undefined;
  }
}

/** Rows that all files have whole. */
async function wholeRows(folder: string, widths: Widths): Promise<number> {
  let rows = Infinity;
  for (const [part, width] of Object.entries(widths) as [Part, number][]) {
    const path = join(folder, fileName(part));
    const size = existsSync(path) ? (await stat(path)).size : 0;
    rows = Math.min(rows, Math.floor(size / (bytesPerNumber * width)));
  }
  return rows;
}

async function appendAt(path: string, position: number, data: Float32Array): Promise<void> {
  await withIoError('write', path, async () => {
    const file = await open(path, existsSync(path) ? 'r+' : 'w+');
    try {
      await file.write(new Uint8Array(data.buffer), 0, data.byteLength, position);
    } finally {
      await file.close();
    }
  });
}

async function readNumbers(path: string, count: number): Promise<Float32Array> {
  const data = new Float32Array(count);
  const bytes = new Uint8Array(data.buffer);
  await withIoError('read', path, async () => {
    const file = await open(path, 'r');
    try {
      for (let at = 0; at < bytes.length;) {
        const { bytesRead } = await file.read(bytes, at, Math.min(readBytes, bytes.length - at), at);
        if (bytesRead === 0) throw new Error('the file is shorter than it was');
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  });
  return data;
}
