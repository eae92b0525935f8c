/** The page of prompts in a report: a grid for each prompt, a row for each method. */
import { float32, type ConditionSource, type HostTensor } from '@dimo/core';
import { readPagePrompts, type PagePrompt } from './conditions.js';
import { encodeGrid } from '../output/images.js';
import type { Sampler } from './methods.js';

/** Pictures of a prompt by each method. */
const picturesPerPrompt = 8;

/** Collects pictures of the same prompts by several methods. */
export interface PromptPage {
  /** Draws the pictures of a method, with the same seed for every method. */
  add(method: string, sampler: Sampler): Promise<void>;
  /** A grid for each prompt. */
  grids(): { readonly title: string; readonly png: Uint8Array }[];
}

/** An empty page for the prompts of a file. @throws OptionError for a prompt that the teacher does not understand. */
export async function promptPage(path: string, conditions: ConditionSource): Promise<PromptPage> {
  const prompts = await readPagePrompts(path);
  const condition = await conditions.parse(
    prompts.flatMap(({ prompt }) => Array.from({ length: picturesPerPrompt }, () => prompt)),
  );
  const methods: { readonly name: string; readonly images: HostTensor<'float32'> }[] = [];
  return {
    async add(name, sampler) {
      const images = await sampler.images?.(await sampler.tokens(condition, 0));
      if (images) methods.push({ name, images });
    },
    grids() {
      if (methods.length === 0) return [];
      const rows = methods.map(({ name }) => name).join('; ');
      return prompts.map((prompt, index) => ({
        title: `${titleOf(prompt)}${index === 0 ? ` (rows: ${rows})` : ''}`,
        png: gridOf(
          methods.map(({ images }) => images),
          index,
        ),
      }));
    },
  };
}

function titleOf({ prompt, remark }: PagePrompt): string {
  return remark === undefined ? `"${prompt}"` : `"${prompt}", ${remark}`;
}

function gridOf(methods: readonly HostTensor<'float32'>[], prompt: number): Uint8Array {
  const shape = methods[0]!.shape.slice(1);
  const size = shape.reduce((product, length) => product * length, 1) * picturesPerPrompt;
  const data = new Float32Array(methods.length * size);
  methods.forEach((images, row) => data.set(images.data.subarray(prompt * size, (prompt + 1) * size), row * size));
  return encodeGrid(float32([methods.length * picturesPerPrompt, ...shape], data), picturesPerPrompt).png;
}
