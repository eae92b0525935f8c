/** Calls that begin with an image, on the bundled model: every kind of input, and calls that share batches. */
import { chooseEngine, folderWeightSource } from '@dimo/backend-node';
import { readGenerator, type Engine, type LoadedGenerator, type Teacher } from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pipeline } from '../index.js';
import type { Picture } from '../pictures/picture.js';
import { createGenerate, type Generate, type GenerateParts } from './generate.js';

const folder = fileURLToPath(presetFolder(presets.mnist));
let engine: Engine;
let generator: LoadedGenerator;
let teacher: Teacher;
let scratch: string;
let generate: Generate;
let three: Picture;
let eight: Picture;

function make(changes: Partial<GenerateParts> = {}): Promise<Generate> {
  return createGenerate({
    model: 'mnist',
    engine,
    ownsEngine: false,
    generator: () => Promise.resolve(generator),
    teacher: () => Promise.resolve(teacher),
    saveFile: () => Promise.reject(new Error('no files')),
    ...changes,
  });
}

/** White below the fourth row of tokens. */
const lowerHalf = {
  width: 28,
  height: 28,
  data: Uint8Array.from({ length: 28 * 28 }, (_, i) => (i >= 16 * 28 ? 255 : 0)),
};
const upper = ({ image }: Picture): Float32Array => image.data.subarray(0, 16 * 28);

beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'dimo-given-'));
  ({ engine } = await chooseEngine('wasm'));
  const teachers = new Map([['maskgit', maskgitTeacher]]);
  generator = await readGenerator(folderWeightSource(path.join(folder, 'generator')), teachers);
  teacher = await maskgitTeacher.load({}, folderWeightSource(folder));
  generate = await make();
  [three, eight] = (await generate(['3', '8'], { seed: 1 })) as [Picture, Picture];
});
afterAll(async () => {
  await generate.dispose();
  await engine.dispose();
  await rm(scratch, { recursive: true });
});

describe.each([
  ['the generator', {}, 1],
  ['the teacher', { steps: 4 }, 4],
] as const)('%s', (_name, network, passes) => {
  it('keeps what is outside of the mask', async () => {
    const drawn = await generate('3', { ...network, image: three, mask: lowerHalf, seed: 4, count: 3 });
    const [decoded] = await generate('3', { ...network, image: three, mask: lowerHalf, seed: 4, composite: false });
    expect(decoded!.tokens).toEqual(drawn[0]!.tokens);
    expect(upper(decoded!)).not.toEqual(upper(three));
    for (const [index, picture] of drawn.entries()) {
      expect(upper(picture)).toEqual(upper(three));
      expect(picture.tokens.data.subarray(0, 28)).toEqual(drawn[0]!.tokens.data.subarray(0, 28));
      expect(picture).toMatchObject({ seed: 4, index, passes, prompt: '3', width: 28 });
    }
    expect(new Set(drawn.map(({ tokens }) => String(tokens.data))).size).toBe(3);
  });

  it('is asked for several images, and none, at the same time as for each alone', async () => {
    const calls = [
      { image: three, mask: lowerHalf },
      { image: eight, mask: lowerHalf },
      { image: eight, strength: 0.4 },
      {},
      { image: three },
    ].map((more, i) => ({ ...network, ...more, seed: 10 + i, count: i === 2 ? 7 : 3 })); // more than a batch of one kind
    const together = await Promise.all(calls.map((options) => generate('5', options)));
    const tokensOf = (pictures: readonly Picture[]) => pictures.map(({ tokens }) => [...tokens.data]);
    for (const [i, options] of calls.entries()) {
      const alone = await generate('5', options);
      expect(tokensOf(alone)).toEqual(tokensOf(together[i]!));
      expect(alone.map(upper)).toEqual(together[i]!.map(upper));
    }
    // The second of a seed is the same when it is drawn alone.
    const second = await generate('5', { ...calls[2], count: 1, firstIndex: 1 });
    expect(tokensOf(second)).toEqual([tokensOf(together[2]!)[1]]);
  });
});

describe('an image', () => {
  it('may be a picture, pixels as canvases have them, or a file', async () => {
    const door = await pipeline('mnist', { engine });
    const options = { steps: 2, mask: lowerHalf, seed: 2 };
    const file = path.join(scratch, 'three.png');
    const [saved] = await door('3', { seed: 1 });
    await saved!.save(file);
    const [ofPixels, ofFile] = await Promise.all([
      door('3', { ...options, image: { width: 28, height: 28, data: saved!.rgba() } }),
      door('3', { ...options, image: file }),
    ]);
    expect(ofFile[0]!.image).toEqual(ofPixels[0]!.image);
    expect(ofFile[0]!.tokens).toEqual((await door('3', { ...options, image: saved }))[0]!.tokens);
    const pictures = [];
    for await (const picture of door.stream('3', { ...options, image: saved })) pictures.push(picture);
    expect(pictures[0]!.tokens).toEqual(ofFile[0]!.tokens);
    await expect(door('3', { image: path.join(scratch, 'missing.png') })).rejects.toMatchObject({
      code: 'option',
      message: expect.stringMatching(/generate: image: cannot read .*missing\.png/) as string,
    });
    await door.dispose();
  });

  it('is refused where it cannot be used, before anything is drawn', async () => {
    await expect(generate('3', { mask: lowerHalf })).rejects.toThrow('generate: mask has no effect without an image');
    await expect(generate('3', { image: three, strength: 2 })).rejects.toThrow('generate: strength must be');
    await expect(generate('3', { image: 'three.png' })).rejects.toThrow('no files are read here');
    const black = { ...lowerHalf, data: new Uint8Array(28 * 28) };
    await expect(generate('3', { image: three, mask: black })).rejects.toThrow('the mask is black everywhere');
  });

  it('needs a model that encodes images', async () => {
    const { encode: _encode, ...decoder } = generator.definition.decoder!;
    const without = { ...generator, definition: { ...generator.definition, decoder } };
    const blind = await make({ generator: () => Promise.resolve(without), teacher: undefined });
    await expect(blind('3', { image: three })).rejects.toMatchObject({
      code: 'option',
      message: expect.stringContaining('its decoder "patch-vq" has no encoder') as string,
    });
    await blind.dispose();
  });
});
