/** `dimo sample` that begins with an image, on the bundled models: inpainting, variations, and what is refused. */
import { decode, encode } from 'fast-png';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { dimoTrial } from '../support/in-process-dimo.js';

const { at, succeed, fails } = dimoTrial();

/** A PNG of bytes that a function of the place gives. */
async function writePng(
  name: string,
  [width, height, channels]: readonly [width: number, height: number, channels: number],
  byteAt: (x: number, y: number, c: number) => number,
): Promise<string> {
  const data = new Uint8Array(width * height * channels);
  for (let i = 0; i < data.length; i++) {
    const pixel = Math.floor(i / channels);
    data[i] = byteAt(pixel % width, Math.floor(pixel / width), i % channels);
  }
  await writeFile(at(name), encode({ width, height, channels, depth: 8, data }));
  return at(name);
}

interface Drawn {
  readonly tokens: number[][];
  /** Bytes of the images. */
  readonly images: Uint8Array[];
}

/** Samples of a model on one engine. */
async function sample(name: string, count: number, ...args: string[]): Promise<Drawn> {
  await mkdir(at(name));
  const files = ['--out', at(name, 'grid.png'), '--tokens', at(name, 't.json'), '--images', at(name, 'images')];
  await succeed(['sample', ...args, '--count', String(count), '--engine', 'onnx', '--threads', '1', '-q', ...files]);
  const { tokens } = JSON.parse(await readFile(at(name, 't.json'), 'utf8')) as { tokens: number[][] };
  const images: Uint8Array[] = [];
  for (let i = 0; i < count; i++)
    images.push(Uint8Array.from(decode(await readFile(at(name, 'images', `${i}.png`))).data));
  return { tokens, images };
}

/** The presets, with a condition, the side of an image and the channels, and the side of their token grid. */
const models = [
  { preset: 'mnist', what: ['--classes', '3'], side: 28, channels: 1, grid: 7 },
  { preset: 'emoji', what: ['red heart'], side: 32, channels: 3, grid: 8 },
] as const;

describe.each(models)('an image on $preset', { timeout: 120_000 }, ({ preset, what, side, channels, grid }) => {
  const size = [side, side, channels] as const;
  /** The half that the mask leaves alone: whole rows of tokens. */
  const keptRows = 4;
  const firstDrawn = (keptRows * side) / grid;
  const keptTokens = (tokens: readonly number[]): readonly number[] => tokens.slice(0, keptRows * grid);
  const keptPixels = (image: Uint8Array): Uint8Array => image.subarray(0, firstDrawn * side * channels);

  async function prepared(): Promise<{ image: string; mask: string; bytes: Uint8Array; tokens: number[] }> {
    const { images } = await sample('source', 1, ...what, '--model', preset, '--seed', '1');
    const bytes = images[0]!;
    const image = await writePng('image.png', size, (x, y, c) => bytes[(y * side + x) * channels + c]!);
    const mask = await writePng('mask.png', [side, side, 1], (_x, y) => (y >= firstDrawn ? 255 : 0));
    // One token in a corner is drawn: all others are those that the image is encoded to.
    const corner = await writePng('corner.png', [side, side, 1], (x, y) => (x + y === 0 ? 255 : 0));
    const { tokens } = await sample(
      'encoded',
      1,
      ...what,
      '--teacher',
      preset,
      '--init-image',
      image,
      '--mask',
      corner,
    );
    return { image, mask, bytes, tokens: tokens[0]! };
  }

  it.each(['--teacher', '--model'])('with %s and --mask keeps one half, and draws the other', async (kind) => {
    const { image, mask, bytes, tokens } = await prepared();
    const inpainting = [...what, kind, preset, '--init-image', image, '--mask', mask, '--seed', '4'];
    const drawn = await sample('drawn', 3, ...inpainting);
    for (const [i, row] of drawn.tokens.entries()) {
      // The corner was drawn when the tokens of the image were found out.
      expect(keptTokens(row).slice(1)).toEqual(keptTokens(tokens).slice(1));
      expect(keptPixels(drawn.images[i]!)).toEqual(keptPixels(bytes));
      expect(drawn.images[i]).not.toEqual(bytes);
    }
    expect(new Set(drawn.tokens.map(String)).size).toBe(3);
    // Decoded, the kept half is that of its tokens.
    const decoded = await sample('decoded', 3, ...inpainting, '--no-composite');
    expect(decoded.tokens).toEqual(drawn.tokens);
    expect(keptPixels(decoded.images[0]!)).not.toEqual(keptPixels(bytes));
    // Batches change nothing.
    expect(await sample('single', 3, ...inpainting, '--batch', '1')).toEqual(drawn);
  });

  it('with --teacher and --strength draws that part of the tokens anew, others for each sample', async () => {
    const { image, tokens } = await prepared();
    const variation = [...what, '--teacher', preset, '--init-image', image, '--seed', '4'];
    const changed = async (name: string, ...more: string[]): Promise<number[][]> => {
      const drawn = await sample(name, 4, ...variation, ...more);
      return drawn.tokens.map((row) => row.flatMap((token, i) => (i > 0 && token !== tokens[i] ? [i] : [])));
    };
    const quarter = await changed('quarter', '--strength', '0.25');
    for (const positions of quarter) expect(positions.length).toBeLessThanOrEqual(Math.round(grid * grid * 0.25));
    expect(new Set(quarter.flat()).size).toBeGreaterThan(Math.max(...quarter.map(({ length }) => length)));
    expect(await changed('half')).toEqual(await changed('same', '--strength', '0.5'));
    // Where everything is drawn the image has no part in it.
    const all = await sample('all', 4, ...variation, '--strength', '1');
    expect(all).toEqual(await sample('none', 4, ...what, '--teacher', preset, '--seed', '4'));
  });

  it('with --model begins one pass with the image, at strength 1 with nothing of it', async () => {
    const { image } = await prepared();
    const plain = await sample('plain', 4, ...what, '--model', preset, '--seed', '4');
    const variation = [...what, '--model', preset, '--init-image', image, '--seed', '4'];
    expect(await sample('all', 4, ...variation, '--strength', '1')).toEqual(plain);
    expect((await sample('little', 4, ...variation, '--strength', '0.1')).tokens).not.toEqual(plain.tokens);
  });
});

describe('an image that cannot be used', { timeout: 60_000 }, () => {
  it('is refused in one sentence, and nothing is written', async () => {
    const image = await writePng('image.png', [28, 28, 1], (x) => x);
    const black = await writePng('black.png', [28, 28, 1], () => 127);
    const small = await writePng('small.png', [27, 28, 1], () => 255);
    await writeFile(at('text.png'), 'no picture at all, and long enough for a header');
    await writeFile(at('cut.png'), (await readFile(image)).subarray(0, 60));
    const bomb = new Uint8Array(await readFile(image));
    new DataView(bomb.buffer).setUint32(16, 2 ** 31 - 1);
    await writeFile(at('bomb.png'), bomb);
    const begins = ['--init-image', image];
    for (const [args, message] of [
      [['--mask', image], /--mask has no effect without an image \(--init-image\)/],
      [['--strength', '0.5'], /--strength has no effect without an image/],
      [['--no-composite'], /--no-composite has no effect without an image/],
      [[...begins, '--no-composite'], /--no-composite has no effect without a mask \(--mask\)/],
      [[...begins, '--strength', '0'], /--strength must be a number in \(0, 1\], got 0/],
      [[...begins, '--strength', '1.5'], /--strength must be a number in \(0, 1\], got 1.5/],
      [[...begins, '--strength', 'half'], /--strength must be a number in \(0, 1\], got "half"/],
      [[...begins, '--mask', black], /--mask: the mask is black everywhere/],
      [[...begins, '--mask', small], /--mask: the mask has 27 x 28 pixels, the image 28 x 28/],
      [['--init-image', at('missing.png')], /--init-image: cannot read .*missing\.png/],
      [['--init-image', at('text.png')], /--init-image .*text\.png is no PNG/],
      [['--init-image', at('cut.png')], /--init-image .*cut\.png is a damaged PNG/],
      [['--init-image', at('bomb.png')], /--init-image .*bomb\.png: width and height/],
    ] as const)
      expect(await fails(['sample', '--model', 'mnist', '--out', at('o.png'), ...args])).toMatch(message);
    await expect(readFile(at('o.png'))).rejects.toThrow('ENOENT');
  });
});
