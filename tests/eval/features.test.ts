/**
 * `dimo features` and `dimo eval --features` with a network of our own ONNX writer: their numbers are those that Pillow,
 * NumPy and SciPy compute from the pictures (fixtures/feature-metrics/make.py), and an interrupted run goes on.
 */
import { openFileChecked } from '@dimo/backend-node';
import { readNpz, type EvaluationRow } from '@dimo/eval';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dimoTrial } from '../support/in-process-dimo.js';
import { startDimo } from '../support/run-dimo.js';
import { description, picture, textFeatures, writeNetwork, writePictures, writeTextNetwork } from './random-network.js';

const fixtures = fileURLToPath(new URL('../fixtures/feature-metrics/', import.meta.url));
const expected = JSON.parse(readFileSync(path.join(fixtures, 'expected.json'), 'utf8')) as {
  fid: number;
  sFid: number;
  inceptionScore: number;
  cmmd: number;
  neighbors: Record<string, { precision: number; recall: number; density: number; coverage: number }>;
};
/** float32 of the network and of resizing against float64 of NumPy. */
const tolerance = 1e-4;

const { dimo } = dimoTrial();
let folder: string;
let network: string;
let real: string;
let generated: string;
const inFolder = (...parts: string[]): string => path.join(folder, ...parts);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-features-'));
  process.env['DIMO_CACHE'] = inFolder('cache');
  network = await writeNetwork(folder, 'random');
  [real, generated] = [inFolder('real'), inFolder('generated')];
  await writePictures(real, 60, { size: [20, 24], kind: 0 });
  await writePictures(generated, 50, { size: [16, 16], kind: 1 });
});
afterAll(async () => {
  delete process.env['DIMO_CACHE'];
  await rm(folder, { recursive: true });
});

async function rowsOf(...args: string[]): Promise<EvaluationRow[]> {
  const out = inFolder('eval.json');
  const { code, stdout, stderr } = await dimo(['eval', '--features', network, ...args, '--out', out, '--json', '-q']);
  expect(code, stderr).toBe(0);
  return (JSON.parse(stdout) as { rows: EvaluationRow[] }).rows;
}

function expectClose(found: number | undefined, wanted: number): void {
  expect(Math.abs(found! / wanted - 1), `${found} should be ${wanted}`).toBeLessThan(tolerance);
}

function expectAll([row]: EvaluationRow[], k: string): void {
  for (const name of ['fid', 'sFid', 'inceptionScore', 'cmmd'] as const) expectClose(row![name], expected[name]);
  for (const [name, value] of Object.entries(expected.neighbors[k]!)) expectClose(row![name as 'recall'], value);
  expect(row!.count).toBe(50);
}

const all = ['--feature-metrics', 'fid,is,neighbors,sfid,cmmd'];

describe('metrics in the features of an ONNX network', () => {
  it('are those of NumPy and SciPy, against a folder', async () => {
    expectAll(await rowsOf('--images', generated, '--reference', real, ...all), '5');
  });

  it('are the same of pictures in other formats', async () => {
    const converted = inFolder('converted');
    await mkdir(converted);
    for (const name of readdirSync(generated)) {
      const picture = sharp(path.join(generated, name)).ensureAlpha(0.5);
      await picture.webp({ lossless: true, exact: true }).toFile(path.join(converted, `${path.parse(name).name}.webp`));
    }
    expectAll(await rowsOf('--images', converted, '--reference', real, ...all), '5');
  });

  it('are the same against a file of dimo features, with other neighbours', async () => {
    const out = inFolder('real.npz');
    const { code, stdout } = await dimo([
      'features',
      real,
      '--features',
      network,
      '--out',
      out,
      '--keep-features',
      '--json',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ written: out, count: 60, width: 12, network: 'random' });
    const k = ['--set', 'eval.precisionNeighbors=3', '--set', 'eval.densityNeighbors=3'];
    expectAll(await rowsOf('--images', generated, '--reference', out, ...all, ...k), '3');
  });

  it('are those that statistics of NumPy allow', async () => {
    const [row] = await rowsOf('--images', generated, '--reference', path.join(fixtures, 'stored.npz'));
    expectClose(row!.fid, expected.fid);
    expectClose(row!.inceptionScore, expected.inceptionScore);
    expect([row!.precision, row!.sFid]).toEqual([undefined, undefined]);
  });

  it('of the samples of a model are the same from whatever batches they come', async () => {
    const args = ['--model', 'mnist', '--no-teacher', '--engine', 'onnx', '--count', '30', '--reference', real];
    const [one] = await rowsOf(...args, '--batch', '7', '--work', inFolder('sevens'));
    const [other] = await rowsOf(...args, '--batch', '30', '--work', inFolder('thirties'));
    expect(one!.count).toBe(30);
    expect(one!.steps).toBe(1);
    expect(one!.fid).toBeGreaterThan(0);
    for (const name of ['fid', 'inceptionScore', 'precision', 'recall'] as const) {
      expect(Math.abs(one![name]! - other![name]!), name).toBeLessThan(1e-4 * Math.max(1, one![name]!));
    }
  });
});

describe('the CLIP score', () => {
  it('is the mean cosine of pictures and captions in turn, times 100', async () => {
    const text = await writeTextNetwork(inFolder('text'));
    await writeFile(inFolder('captions.txt'), 'a\nb a\n\nb b b\n');
    const captions = ['--captions', inFolder('captions.txt'), '--text', text];
    const [row] = await rowsOf('--images', generated, ...captions, '--feature-metrics', 'is');
    expect(row!.fid).toBeUndefined();
    const out = inFolder('generated.npz');
    await dimo(['features', generated, '--features', network, '--out', out, '--keep-features', '--threads', '1']);
    const file = await openFileChecked(out);
    const features = await (
      await readNpz(file, out)
    )
      .get('features')!
      .numbers()
      .catch(() => new Float64Array());
    await file.close();
    // Start and end around the last letters of words.
    const texts = [[2], [3, 2], [3, 3, 3]].map((tokens) => textFeatures([4, ...tokens, 5]));
    let total = 0;
    for (let i = 0; i < 50; i++) {
      const [a, b] = [[...features.subarray(i * 12, i * 12 + 12)], texts[i % 3]!];
      const dot = (x: number[], y: number[]) => x.reduce((sum, value, d) => sum + value * y[d]!, 0);
      total += Math.max(0, (100 * dot(a, b)) / Math.sqrt(dot(a, a) * dot(b, b)));
    }
    expectClose(row!.clipScore, total / 50);
    expect(row!.clipScore).toBeGreaterThan(1);
  });
});

describe('what is typed', () => {
  const statistics = async (name: string, ...args: string[]) => {
    const out = inFolder(name);
    const { code, stderr } = await dimo(['features', real, '--out', out, ...args]);
    expect(code, stderr).toBe(0);
    const file = await openFileChecked(out);
    const arrays = await readNpz(file, out);
    const read = { names: [...arrays.keys()], mean: [...(await arrays.get('mu')!.numbers())], stderr };
    await file.close();
    return read;
  };

  it('counts: of fewer pictures, without progress, by another description of the network', async () => {
    const whole = await statistics('whole.npz', '--features', network);
    expect(whole.names).toEqual(['mu', 'sigma', 'mu_s', 'sigma_s']);
    const fewer = await statistics('fewer.npz', '--features', network, '--count', '20', '--quiet');
    expect(fewer.stderr).toBe('');
    expect(fewer.mean).not.toEqual(whole.mean);
    const { spatial: _spatial, ...others } = description;
    await writeFile(inFolder('other.json'), JSON.stringify({ ...others, resize: 'lanczos' }));
    const other = await statistics('other.npz', '--features', network, '--network', inFolder('other.json'));
    expect(other.names).toEqual(['mu', 'sigma']);
    expect(other.mean).not.toEqual(whole.mean);
    expect(other.stderr).toMatch(/60\/60/);
  });
});

describe('archives of NumPy', () => {
  const files: { close(): Promise<void> }[] = [];
  afterAll(() => Promise.all(files.map((file) => file.close())));
  const open = async (name: string) => {
    const file = await openFileChecked(path.join(fixtures, name));
    files.push(file);
    return readNpz(file, name);
  };

  it('are read stored and compressed, in every order of bytes and axes', async () => {
    const [stored, compressed] = [await open('stored.npz'), await open('compressed.npz')];
    const [a, b] = [await stored.get('sigma')!.numbers(), await compressed.get('sigma')!.numbers()];
    expect(a).toEqual(b);
    expect(a).toHaveLength(144);
    expect([...(await compressed.get('counts')!.numbers())]).toEqual([0, 1, 2, 3, 4]);
    expect([...(await compressed.get('mixed')!.numbers())]).toEqual(Array.from({ length: 24 }, (_, i) => i));
    const images: number[] = [];
    for await (const rows of compressed.get('arr_0')!.rows(2)) images.push(...rows);
    expect(images).toEqual([0, 1, 2].flatMap((i) => [...picture(i, [6, 5], 0)]));
  });

  it('hold images that are pictures like those of a folder', async () => {
    const out = inFolder('from-archive.npz');
    const archive = path.join(fixtures, 'compressed.npz');
    const args = ['--features', network, '--keep-features', '-q', '--batch', '2'];
    expect((await dimo(['features', archive, ...args, '--out', out])).code).toBe(0);
    await writePictures(inFolder('three'), 3, { size: [6, 5], kind: 0 });
    expect((await dimo(['features', inFolder('three'), ...args, '--out', inFolder('three.npz')])).code).toBe(0);
    // The second run reads features.npz whole: equal bytes are equal numbers.
    expect((await readFile(out)).equals(await readFile(inFolder('three.npz')))).toBe(true);
  });
});

describe('an interrupted run', () => {
  it('goes on where it was killed, with the same result', async () => {
    const many = inFolder('many');
    await writePictures(many, 400, { size: [64, 64], kind: 0 });
    const work = inFolder('work');
    const args = (out: string, at: string) => [
      'features',
      many,
      '--features',
      network,
      '--batch',
      '1',
      '--work',
      at,
      '--out',
      out,
    ];
    const killed = startDimo(args(inFolder('killed.npz'), work), { cwd: folder });
    const rows = () => {
      const file = path.join(work, readdirSync(work)[0] ?? '', 'features.f32');
      return Math.floor((statSync(file, { throwIfNoEntry: false })?.size ?? 0) / 48);
    };
    while (killed.process.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      try {
        if (rows() > 20) break;
      } catch {
        // The folder is not there yet.
      }
    }
    killed.process.kill('SIGKILL');
    await killed.ended;
    const done = rows();
    expect(done).toBeLessThan(400);
    // A write that was cut off.
    const file = path.join(work, readdirSync(work)[0]!, 'features.f32');
    await writeFile(file, Buffer.from([1, 2, 3]), { flag: 'a' });
    const again = await dimo(args(inFolder('again.npz'), work));
    expect(again.code).toBe(0);
    expect(again.stderr).toMatch(/features of \d+ of 400 pictures .* are there already/);
    expect((await dimo(args(inFolder('fresh.npz'), inFolder('fresh')))).code).toBe(0);
    expect((await readFile(inFolder('again.npz'))).equals(await readFile(inFolder('fresh.npz')))).toBe(true);
  });

  it('of other pictures begins anew', async () => {
    const few = inFolder('few');
    await writePictures(few, 3, { size: [8, 8], kind: 0 });
    const args = ['features', few, '--features', network, '--work', inFolder('work-few'), '--out', inFolder('few.npz')];
    await dimo(args);
    await writeFile(path.join(few, '0001.png'), await readFile(path.join(real, '0007.png')));
    expect((await dimo(args)).stderr).not.toMatch(/there already/);
  });
});
