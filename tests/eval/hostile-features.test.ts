/** What `dimo features` and `dimo eval --features` refuse: by name, with one paragraph, before anything is written. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ZipFile } from 'yazl';
import { npyHeader } from '../../packages/eval/src/features/npy.js';
import { dimoTrial } from '../support/in-process-dimo.js';
import { writeNetwork, writePictures } from './random-network.js';

const { fails, dimo } = dimoTrial();
let folder: string;
let network: string;
let pictures: string;
const inFolder = (...parts: string[]): string => path.join(folder, ...parts);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-hostile-'));
  process.env['DIMO_CACHE'] = inFolder('cache');
  network = await writeNetwork(folder, 'random');
  pictures = inFolder('pictures');
  await writePictures(pictures, 12, { size: [8, 8], kind: 0 });
});
afterAll(async () => {
  delete process.env['DIMO_CACHE'];
  await rm(folder, { recursive: true });
});

interface Entry {
  readonly type?: '<f8' | '<f4' | '|u1';
  readonly shape: readonly number[];
  readonly data: Float64Array | Float32Array | Uint8Array;
  /** Instead of the right header. */
  readonly header?: Uint8Array;
}
const f8 = (shape: readonly number[], data: ArrayLike<number>): Entry => ({ shape, data: Float64Array.from(data) });
const eye = (n: number) =>
  f8(
    [n, n],
    Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
  );

async function npz(name: string, entries: Readonly<Record<string, Entry>>): Promise<string> {
  const zip = new ZipFile();
  for (const [key, { type = '<f8', shape, data, header }] of Object.entries(entries)) {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    zip.addBuffer(Buffer.concat([header ?? npyHeader(type, shape), bytes]), `${key}.npy`, { compress: true });
  }
  zip.end();
  const file = inFolder(name);
  await writeFile(file, await buffer(zip.outputStream));
  return file;
}

const evaluation = (reference: string, ...more: string[]): string[] => [
  ...['eval', '--features', network, '--images', pictures, '--reference', reference],
  ...['--out', inFolder('out', 'eval.json'), ...more],
];
const mean = (n: number, value = 0) => f8([n], new Float64Array(n).fill(value));
const objects = new TextEncoder().encode('\u0093NUMPY');

/** Numbers that are not finite exit with 1, everything else with 2. */
async function failsOrBreaks(args: string[]): Promise<string> {
  const { code, stderr } = await dimo(args);
  expect([1, 2]).toContain(code);
  expect(stderr).not.toMatch(/^\s+at /m);
  return stderr;
}

describe('references are refused', () => {
  const python = Uint8Array.from([0x93, ...objects.slice(2), 1, 0, 54, 0]);
  const text = new TextEncoder().encode("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}");
  const cases: [string, Record<string, Entry>, RegExp][] = [
    [
      'of another width',
      { mu: mean(7), sigma: eye(7) },
      /gives 12 features per image, but .*other-width.npz was made with 7/,
    ],
    [
      'whose parts do not fit',
      { mu: mean(7), sigma: eye(6) },
      /"mu" and "sigma" must be \(D\) and \(D, D\), got \(7\) and \(6, 6\)/,
    ],
    ['without a covariance', { mu: mean(7) }, /has "mu" but no "sigma"/],
    ['of NaN', { mu: mean(12, NaN), sigma: eye(12) }, /"mu" has numbers that are not finite/],
    ['of a negative variance', { mu: mean(1), sigma: f8([1, 1], [-1]) }, /negative variance/],
    ['of no covariance', { mu: mean(2), sigma: f8([2, 2], [1, 5, 0, 1]) }, /not symmetric at 1, 0/],
    [
      'of pickled objects',
      { mu: { shape: [1], data: new Uint8Array(), header: Uint8Array.from([...python, ...text]) } },
      /elements of the type "\|O"/,
    ],
    [
      'that claim more than they hold',
      { mu: { shape: [1e9], data: new Float64Array(2) } },
      /needs 8000000000 bytes, got 16/,
    ],
    ['of images of floating point', { arr_0: f8([1, 1, 1, 3], [0, 0, 0]) }, /"arr_0" must be images, uint8/],
    ['of features in another precision', { features: f8([2, 12], new Float64Array(24)) }, /"features" must be float32/],
    ['of something else', { other: mean(3) }, /no metric can be computed|is described without|has no statistics/],
    [
      'with too few features',
      { features: { type: '<f4', shape: [3, 12], data: new Float32Array(36) } },
      /neighbors needs at least 6 pictures, got 3/,
    ],
  ];
  it.each(cases)('%s', async (name, entries, message) => {
    const file = await npz(
      name === 'of another width' ? 'other-width.npz' : `${cases.findIndex(([other]) => other === name)}.npz`,
      entries,
    );
    const asked = name === 'of something else' ? ['--feature-metrics', 'fid'] : [];
    expect(await failsOrBreaks(evaluation(file, ...asked))).toMatch(message);
    expect(existsSync(inFolder('out'))).toBe(false);
  });

  it('that are cut off or damaged', async () => {
    const whole = await readFile(await npz('whole.npz', { mu: mean(12), sigma: eye(12) }));
    for (const length of [0, 10, whole.length - 1]) {
      await writeFile(inFolder('cut.npz'), whole.subarray(0, length));
      expect(await fails(evaluation(inFolder('cut.npz')))).toMatch(/zip archive: its directory/);
    }
    const damaged = Uint8Array.from(whole);
    // In the compressed numbers of the first array.
    damaged[60]! ^= 0xff;
    await writeFile(inFolder('damaged.npz'), damaged);
    expect(await fails(evaluation(inFolder('damaged.npz')))).toMatch(/damaged|checksum|no NumPy array|header/);
    await writeFile(inFolder('text.npz'), 'not found');
    expect(await fails(evaluation(inFolder('text.npz')))).toMatch(/text\.npz/);
  });

  it('that are absent', async () => {
    expect(await fails(evaluation(inFolder('absent.npz')))).toMatch(/cannot read .*absent\.npz/);
  });
});

describe('networks are refused', () => {
  const features = (file: string, ...more: string[]) =>
    fails(['features', pictures, '--features', file, '--out', inFolder('never.npz'), ...more]);
  const described = async (name: string, changes: object) =>
    features(await writeNetwork(inFolder(name), name, changes));

  it('without a description, with one of unknown fields, presets or values', async () => {
    const alone = await writeNetwork(inFolder('alone'), 'alone');
    await rm(inFolder('alone', 'alone.json'));
    expect(await features(alone)).toMatch(/nothing says how images get into .*alone\.onnx/);
    expect(await features(alone, '--network', 'inception')).toMatch(/neither a file nor a known network/);
    expect(await described('unknown', { pool: 'pool3' })).toMatch(/unknown "pool"; known are/);
    expect(await described('preset', { preset: 'inception' })).toMatch(/there is no preset "inception"/);
    expect(await described('range', { range: [1, 1] })).toMatch(/range must be two different numbers/);
    expect(await described('both', { probabilities: 'logits' })).toMatch(/logits and probabilities exclude/);
    await writeFile(inFolder('alone', 'alone.json'), '{');
    expect(await features(alone)).toMatch(/is not JSON/);
  });

  it('whose inputs and outputs have other names', async () => {
    const known = /it has "pool3" \(float32 \[[^\]]*12\]\), "logits"/;
    expect(await described('output', { features: 'pool_3:0' })).toMatch(/has no output "pool_3:0"/);
    expect(await described('named', { features: 'pool_3:0' })).toMatch(known);
    expect(await described('input', { input: 'x' })).toMatch(/has no input "x"; it has "images"/);
    expect(await described('several', { features: undefined })).toMatch(/has several outputs/);
  });

  it('whose outputs are none of features, or whose input has another size', async () => {
    expect(await described('map', { features: 'map' })).toMatch(/must have one vector per image, got \[12, 8, 8, 3\]/);
    expect(await described('token', { token: 3 })).toMatch(/must be a sequence/);
    expect(await described('channels', { spatialChannels: 4 })).toMatch(/a map of at least 4 channels/);
    expect(await described('probabilities', { logits: undefined, probabilities: 'logits' })).toMatch(
      /sum to 1, got a sum/,
    );
    expect(await described('size', { size: [9, 9] })).toMatch(/does not run on \[images: float32 \[12, 9, 9, 3\]\]/);
    const infinite = await writeNetwork(inFolder('infinite'), 'infinite', { mean: 1e39 });
    expect(await failsOrBreaks(['features', pictures, '--features', infinite, '--out', inFolder('never.npz')])).toMatch(
      /the output "pool3" has the value (NaN|-?Infinity) for image 0 of the batch \(pictures from 0 on of/,
    );
  });

  it('that are none', async () => {
    await writeFile(inFolder('none.onnx'), 'not an ONNX file');
    await writeFile(inFolder('none.json'), '{}');
    expect(await features(inFolder('none.onnx'))).toMatch(/onnxruntime cannot read the network/);
    expect(await features(inFolder('absent.onnx'))).toMatch(/cannot read .*absent\.onnx/);
    expect(existsSync(inFolder('never.npz'))).toBe(false);
  });
});

describe('pictures are refused', () => {
  const features = (from: string, ...more: string[]) =>
    fails(['features', from, '--features', network, '--out', inFolder('never.npz'), ...more]);

  it('of an empty folder, of fewer than asked for, of one', async () => {
    await mkdir(inFolder('empty'));
    expect(await features(inFolder('empty'))).toMatch(/holds no pictures/);
    expect(await features(pictures, '--count', '13')).toMatch(/holds 12 pictures, but 13 were asked for/);
    await writePictures(inFolder('one'), 1, { size: [8, 8], kind: 0 });
    expect(await features(inFolder('one'))).toMatch(/at least 2 pictures/);
    expect(await features(pictures, '--count', 'many')).toMatch(/--count must be an integer of at least 2, got "many"/);
  });

  it('that are not read, or damaged', async () => {
    await writePictures(inFolder('mixed'), 2, { size: [8, 8], kind: 0 });
    await writeFile(inFolder('mixed', 'b.tif'), '');
    expect(await features(inFolder('mixed'))).toMatch(
      /b\.tif is no PNG, JPEG, WebP or GIF; leaving it out would change/,
    );
    await rm(inFolder('mixed', 'b.tif'));
    await writeFile(inFolder('mixed', 'b.jpg'), '');
    expect(await features(inFolder('mixed'))).toMatch(/b\.jpg: the file is empty/);
    await rm(inFolder('mixed', 'b.jpg'));
    const png = await readFile(inFolder('mixed', '0001.png'));
    await writeFile(inFolder('mixed', '0001.png'), png.subarray(0, 60));
    expect(await features(inFolder('mixed'))).toMatch(/0001\.png is a damaged PNG/);
  });

  it('of too few for the metrics', async () => {
    await writePictures(inFolder('five'), 5, { size: [8, 8], kind: 0 });
    const few = (metric: string) =>
      fails([
        ...['eval', '--features', network, '--images', inFolder('five'), '--reference', pictures],
        ...['--feature-metrics', metric, '--out', inFolder('out', 'eval.json')],
      ]);
    expect(await few('neighbors')).toMatch(/neighbors needs at least 6 pictures, got 5/);
    expect(await few('is')).toMatch(/is needs at least 10 pictures, got 5/);
    expect(await few('fd')).toMatch(/there is no metric "fd"; known are fid, is, neighbors, sfid, cmmd/);
  });
});

describe('flags without effect are refused', () => {
  it.each([
    [['--reference', 'x'], /--reference has no effect without --features/],
    [['--images', 'x'], /--images has no effect without --features/],
    [['--features', 'x', '--text', 'y', '--images', 'z'], /--text has no effect without --captions/],
    [['--features', 'x'], /there is nothing to measure/],
    [['--features', 'x', '--images', 'z', '--count', '20'], /--count 20 has no effect: no model is measured/],
    [['--features', 'x', '--images', 'z', '--dataset', 'mnist'], /--dataset mnist has no effect/],
  ])('%j', async (flags, message) => expect(await fails(['eval', ...flags])).toMatch(message));
});
