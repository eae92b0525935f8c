/** One file and a folder of the same generator are read as the same generator. */
import { describe, expect, it } from 'vitest';
import { generatorBundle, generatorBundleSource } from './generator-bundle.js';
import { generatorFiles } from './generator-files.js';
import type { GeneratorDescription } from '../generator/generator.js';
import { readSafetensors } from '../storage/safetensors.js';
import { writeSafetensors } from '../storage/safetensors-write.js';
import { float32 } from '../tensors/tensors.js';

const description: GeneratorDescription = {
  format: 'dimo-generator',
  version: 1,
  teacher: { name: 'tiny', config: { names: ['</script>', 'ü'] } },
  model: 'tiny-1',
  tokenInit: { maskRatio: 0.6, embeddingNoise: 0, noiseDeviation: 1 },
  temperature: 0.75,
};
const content = {
  description,
  weights: { 'a.weight': float32([2], [1, 2]), 'a.bias': float32([1], [3]) },
  decoderWeights: { 'a.weight': float32([1], [4]) },
};

describe('generatorBundle', () => {
  it('holds the weights under their own names, for any reader', () => {
    const { tensors, metadata } = readSafetensors(generatorBundle(content));
    expect(Object.keys(tensors).sort()).toEqual(['a.bias', 'a.weight', 'decoder/a.weight']);
    expect(tensors['a.weight']).toEqual(content.weights['a.weight']);
    expect(metadata['format']).toBe('pt');
  });

  it('is read as the folder that it stands for', async () => {
    const source = generatorBundleSource(generatorBundle(content), 'one.safetensors');
    const folder = generatorFiles(content);
    expect(await source.list()).toEqual(['config.json', 'model.safetensors', 'decoder.safetensors']);
    expect(JSON.parse(new TextDecoder().decode(await source.read('config.json')))).toEqual(description);
    for (const name of ['model.safetensors', 'decoder.safetensors'])
      expect({ ...readSafetensors(await source.read(name)).tensors }).toEqual({
        ...readSafetensors(folder[name]!).tensors,
      });
    await expect(source.read('../secret')).rejects.toMatchObject({ code: 'weights' });
  });

  it('refuses files without a description, and generators that need more files', () => {
    const plain = writeSafetensors(content.weights);
    expect(() => generatorBundleSource(plain, 'x')).toThrow(expect.objectContaining({ code: 'weights' }));
    const withFiles = { ...content, conditionFiles: { 'vocabulary.json': new Uint8Array(1) } };
    expect(() => generatorBundle(withFiles)).toThrow(expect.objectContaining({ code: 'option' }));
  });
});
