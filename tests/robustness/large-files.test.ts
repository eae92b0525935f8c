/** Weight files of any size, and row A13: files that change or are cut while they are read. */
import { folderWeightSource } from '@dimo/backend-node';
import { DimoError, float32, randomStream, writeSafetensors, type HostTree, type WeightSource } from '@dimo/core';
import { mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../packages/core/src/storage/safetensors-file.js';
import { openTorchWeights } from '../../packages/core/src/weight-files/torch/state-dict.js';
import { stateDict, tensor, torchZip } from '../../packages/core/src/weight-files/torch/test-support/torch-writer.js';
import { buildChild, startChild } from './child-programs.js';

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'dimo-large-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('files of more than 4 GiB', () => {
  let program: string;
  beforeAll(() => void (program = buildChild('large-files')));

  it.each(['zip', 'legacy', 'safetensors'])(
    'are read in parts, with memory of the wanted tensors: %s',
    { timeout: 120_000 },
    async (kind) => {
      const child = startChild(program, [folder, kind]);
      expect(await child.ended).toBe(0);
      const { fileBytes, right, grownMb } = JSON.parse(child.lines.at(-1) ?? '') as Record<string, number>;
      expect(fileBytes).toBeGreaterThan(5 * 2 ** 30);
      expect(right).toBe(true);
      // Two tensors of 3 MiB, their stored bytes, a piece of 8 MiB; the rest is the garbage collector's.
      expect(grownMb).toBeLessThan(64);
    },
  );
});

describe('A13: a file that changes while it is read', () => {
  const data = (seed: number) => Float32Array.from({ length: 40_000 }, (_, i) => seed * 1e6 + i);
  const names = ['a', 'b', 'c'];
  const torchBytes = (seed: number): Uint8Array =>
    torchZip(
      stateDict(
        Object.fromEntries(
          names.map((name, key) => [
            name,
            tensor({ key: String(key), numElements: 40_000, offset: 0, shape: [40_000], strides: [1] }),
          ]),
        ),
      ),
      Object.fromEntries(names.map((_, key) => [key, data(seed + key)])),
    );
  const safeBytes = (seed: number): Uint8Array =>
    writeSafetensors(Object.fromEntries(names.map((name, key) => [name, float32([40_000], data(seed + key))])));
  const kinds = {
    pth: { bytes: torchBytes, open: openTorchWeights },
    safetensors: { bytes: safeBytes, open: openSafetensors },
  };

  it.each(Object.keys(kinds) as (keyof typeof kinds)[])(
    'ends as an error or as one of the files, never a mixture: %s',
    async (kind) => {
      const { bytes, open } = kinds[kind];
      const [old, other] = [bytes(0), bytes(7)];
      let numErrors = 0;
      for (let run = 0; run < 50; run++) {
        const [when, how, where] = randomStream(13, run, kind).integers(3, 2 ** 16) as unknown as [
          number,
          number,
          number,
        ];
        const path = join(folder, `${run}.${kind}`);
        writeFileSync(path, old);
        // Written some time ago, so that a change shows in the time stamp.
        utimesSync(path, 1e9, 1e9);
        const change = (): void => {
          if (how % 2 === 0) truncateSync(path, where % old.length);
          else writeFileSync(path, other);
        };
        const read = readAll(disturbed(folderWeightSource(folder), when % 4, change), `${run}.${kind}`, open);
        const tree = await read.catch((error: unknown) => error);
        if (DimoError.isInstance(tree)) numErrors++;
        else
          expect([[...(tree as HostTree)['a']!.data], (tree as HostTree)['c']!.data[0]]).toEqual(
            expect.toBeOneOf([
              [[...data(0)], 2e6],
              [[...data(7)], 9e6],
            ]),
          );
      }
      // A change after the last part is seen when the file is closed: hardly any run may pass.
      expect(numErrors).toBeGreaterThanOrEqual(45);
    },
  );

  type Open = (
    source: WeightSource,
    name: string,
  ) => Promise<{ read(names: readonly string[]): Promise<HostTree>; close(): Promise<void> }>;

  async function readAll(source: WeightSource, name: string, open: Open): Promise<HostTree> {
    const opened = await open(source, name);
    try {
      return await opened.read(names);
    } finally {
      await opened.close();
    }
  }

  /** The source, where `change` happens before the part with this number is read. */
  function disturbed(source: WeightSource, part: number, change: () => void): WeightSource {
    return {
      ...source,
      async open(name) {
        const file = await source.open!(name);
        let count = 0;
        return {
          ...file,
          read(begin, end) {
            if (count++ === part) change();
            return file.read(begin, end);
          },
        };
      },
    };
  }
});
