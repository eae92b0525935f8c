import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { didYouMean, didYouMeanPath } from './nearest.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dimo-nearest-'));
  await mkdir(join(folder, 'runs', 'mnist-one-step', 'generator'), { recursive: true });
});
afterAll(() => rm(folder, { recursive: true }));

describe('didYouMean', () => {
  it.each([
    ['mnits', '; did you mean "mnist"?'],
    ['fashion_mnist', '; did you mean "fashion-mnist"?'],
    ['MNIST', '; did you mean "mnist"?'],
    ['imagenet', ''],
    ['mnist', ''],
    ['x'.repeat(100_000), ''],
  ])('of %j', (name, expected) => {
    expect(didYouMean(name, ['mnist', 'fashion-mnist'])).toBe(expected);
  });
});

describe('didYouMeanPath', () => {
  it('compares the part that is not there with its neighbours', () => {
    const typed = join(folder, 'runs', 'mnist-one-stpe', 'generator');
    const meant = join(folder, 'runs', 'mnist-one-step', 'generator');
    expect(didYouMeanPath(typed)).toBe(`; did you mean "${meant}"?`);
    expect(didYouMeanPath(join(folder, 'rusn'))).toBe(`; did you mean "${join(folder, 'runs')}"?`);
    expect(didYouMeanPath(join(folder, 'elsewhere', 'x'))).toBe('');
    expect(didYouMeanPath('mnits', ['mnist'])).toBe('; did you mean "mnist"?');
  });
});
