/** An application in a page: what `@dimo/pipeline` is for browsers. Functions take and return plain values. */
import type { WebEngineOptions } from '@dimo/backend-web';
import { pipeline as ofNode, type Pipeline, type PipelineOptions } from '@dimo/pipeline';

/** The bundler takes the browser's build; the type checker of the tests knows that of Node alone. */
const pipeline = ofNode as unknown as Pipeline<WebEngineOptions>;

/** Where the server of the tests has the packages' files. */
const files = { onnxruntimeFiles: '/ort/', tfjsWasmFiles: '/tfjs-wasm/' };

interface Failure {
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
}

async function failureOf(call: () => Promise<unknown>): Promise<Failure | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    const { code, message, hint } = error as Error & Failure;
    return { code, message, hint };
  }
}

/** Draws a picture to a canvas, in every way out of the program, and a teacher's in few steps. */
async function draw(model: string, prompt: string, options: PipelineOptions<WebEngineOptions>) {
  const stages = new Set<string>();
  const names: string[] = [];
  const generate = await pipeline(model, {
    engine: 'wasm',
    engineOptions: files,
    ...options,
    onProgress(event) {
      stages.add(event.stage);
      if (event.stage === 'files') names.push(event.file);
    },
  });
  const [[picture], [of2]] = await Promise.all([
    generate(prompt, { seed: 1 }),
    generate(prompt, { seed: 1, steps: 2, sampler: 'halton' }),
  ]);
  const canvas = document.createElement('canvas');
  picture!.drawTo(canvas);
  const drawn = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data;
  const bitmap = await createImageBitmap(picture!.toBlob());
  const save = await failureOf(() => picture!.save('heart.png'));
  const wrong = await failureOf(() => generate('xyzzy'));
  await generate.dispose();
  return {
    tokens: [...picture!.tokens.data],
    teacherTokens: [...of2!.tokens.data],
    pixels: [...picture!.rgba()],
    drawn: [...drawn],
    canvas: [canvas.width, canvas.height],
    bitmap: [bitmap.width, bitmap.height],
    imageData: picture!.toImageData().width,
    stages: [...stages],
    files: [...new Set(names)],
    engine: generate.engine.name,
    save,
    wrong,
  };
}

/** What goes wrong with these names. */
async function failures(names: readonly string[], options: PipelineOptions<WebEngineOptions>) {
  const found: (Failure | undefined)[] = [];
  for (const name of names)
    found.push(await failureOf(() => pipeline(name, { engine: 'wasm', engineOptions: files, ...options })));
  return found;
}

const functions = { draw, failures };

declare global {
  var pipelineFunctions: typeof functions;
}

globalThis.pipelineFunctions = functions;
