/** Draws for the page: all images at once, with the times of the work alone and, if asked for, every step of the teacher. */
import { int32, OptionError } from '@dimo/core';
import { letMessagesIn } from '../generate/let-messages-in.js';
import type { ResidentModel, StepProgress } from '../model/resident-model.js';
import type { Frame, Generated, GenerateParameters } from './methods.js';
import { picturesOf } from './pictures.js';

/** Images computed at once. */
const maximumImages = 64;

/** Draws what a page asks for. @throws OptionError for a wrong request; DimoError with code `cancelled` */
export async function drawForPage(
  model: ResidentModel,
  request: GenerateParameters,
  { signal, emit }: { readonly signal: AbortSignal; emit(frame: Frame): void },
): Promise<Generated> {
  const { texts, seed, firstImage = 0, temperature, sampler } = request;
  const count = texts.length;
  if (count < 1 || count > maximumImages)
    throw new OptionError(`generate: from 1 to ${maximumImages} images at once, got ${count}`);
  const condition = await (await model.prepared()).conditions.parse(texts);
  const { codebookSize, grid } = model.definition.model.tokenSpace;
  // So that the times are not those of uploading and compiling the decoder.
  await model.images(int32([count, grid[0] * grid[1]]), count);

  async function frameOf({ step, numSteps, tokens, images }: StepProgress): Promise<Frame> {
    const isDecided = Uint8Array.from(tokens.data, (token) => (token < codebookSize ? 1 : 0));
    // Decoders know no mask: some code stands in for it where the page shows nothing.
    const shown = { ...tokens, data: tokens.data.map((token) => (token < codebookSize ? token : 0)) };
    return { step, numSteps, isDecided, pictures: picturesOf((await images(shown))!) };
  }

  /** Time outside of the sampling itself. */
  let drawing = 0;
  let started = performance.now();
  const { tokens, passes, maximumPasses } = await model.tokens({
    network: request.network === 'generator' ? { kind: 'generator', temperature } : { kind: 'teacher', sampler },
    condition,
    samples: texts.map((_, i) => ({ seed, index: firstImage + i })),
    batchSize: count,
    signal,
    onReady: () => (started = performance.now()),
    async onStep(progress) {
      const begun = performance.now();
      await letMessagesIn();
      if (request.frames === true && !signal.aborted) emit(await frameOf(progress));
      drawing += performance.now() - begun;
    },
  });
  const sampled = performance.now();
  const pictures = picturesOf((await model.images(tokens, count))!);
  return {
    pictures,
    tokens: Int32Array.from(tokens.data),
    numSteps: maximumPasses,
    meanPasses: passes.reduce((sum, some) => sum + some, 0) / count,
    milliseconds: { sampling: sampled - started - drawing, decoding: performance.now() - sampled },
  };
}
