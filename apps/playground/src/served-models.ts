/**
 * Models of the `dimo serve` that the page comes from. Their weights stay there: the server draws, the page shows. On
 * other hosts there are none.
 */
import type { Generated, GenerateParameters, LoadedModel, Pictures } from '@dimo/pipeline/worker-client';

/** A model as `GET /v1/models` describes it. */
interface ModelDescription {
  readonly name: string;
  readonly kind: 'generator' | 'teacher';
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly classNames?: readonly string[];
  /** Names of samplers that a request may ask for; teachers only. */
  readonly samplers?: readonly string[];
}

/** A model of the server. */
export interface ServedModel {
  readonly name: string;
  readonly model: LoadedModel;
  draw(parameters: GenerateParameters, signal: AbortSignal): Promise<Generated>;
}

/** Stands for the sampler that the server was started with. */
const asStarted = 'as the server was started';

/** Thrown if the server wants its token. */
export class TokenNeeded extends Error {
  readonly hint = 'type the token that `dimo serve` was started with';
}

/**
 * The models of a server.
 *
 * @param address - of the list, which the server names in the header `dimo-models` of its files.
 * @throws TokenNeeded
 */
export async function listServedModels(address: string, token: string | undefined): Promise<ServedModel[]> {
  const url = new URL(address, document.baseURI);
  // A page and its server are one site; a token is sent nowhere else.
  if (url.origin !== location.origin) return [];
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const { models } = (await ask(url, { headers })) as { readonly models: readonly ModelDescription[] };
  return models.map((description) => served(description, headers));
}

function served(
  { name, kind, imageShape, classNames, samplers = [] }: ModelDescription,
  headers: Readonly<Record<string, string>>,
): ServedModel {
  const model: LoadedModel = {
    id: -1,
    // Neither its size nor its tokens leave the server.
    ...(kind === 'generator'
      ? { generator: { model: name, temperature: 1, numParameters: 0 } }
      : {
          teacher: {
            name,
            numSteps: 16,
            numParameters: 0,
            sampler: asStarted,
            samplers: [asStarted, ...samplers].map((sampler) => ({
              name: sampler,
              description: '',
              takesSteps: false,
            })),
          },
        }),
    ...(classNames ? { classNames } : {}),
    takesPrompts: classNames === undefined,
    imageShape,
    grid: [1, 1],
    codebookSize: 0,
  };
  return {
    name,
    model,
    async draw({ texts, seed, sampler }, signal) {
      const wanted = sampler?.name === undefined || sampler.name === asStarted ? {} : { sampler: sampler.name };
      const answer = (await ask(new URL('/v1/images', location.origin), {
        method: 'POST',
        signal,
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify({
          model: name,
          seed,
          ...wanted,
          ...(classNames ? { classes: texts } : { prompts: texts }),
        }),
      })) as { readonly milliseconds: number; readonly images: readonly { readonly png: string }[] };
      const pictures = await decode(answer.images, imageShape);
      const milliseconds = { sampling: answer.milliseconds, decoding: 0 };
      return { pictures, tokens: new Int32Array(), numSteps: 1, meanPasses: 1, milliseconds };
    },
  };
}

async function ask(url: URL, request: RequestInit): Promise<unknown> {
  const response = await fetch(url, request).catch((error: unknown) => {
    if ((error as Error).name === 'AbortError') throw Object.assign(new Error('Stopped'), { code: 'cancelled' });
    throw Object.assign(new Error('The server does not answer'), { hint: 'is `dimo serve` still running?' });
  });
  const body = (await response.json().catch(() => ({}))) as {
    readonly error?: { readonly message: string; readonly hint?: string };
  };
  if (response.ok) return body;
  const message = body.error?.message ?? `The server answered with ${response.status}`;
  if (response.status === 401) throw new TokenNeeded(message);
  throw Object.assign(new Error(message), body.error?.hint ? { hint: body.error.hint } : {});
}

/** PNGs as pixels. */
async function decode(
  images: readonly { readonly png: string }[],
  [height, width]: LoadedModel['imageShape'],
): Promise<Pictures> {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true })!;
  const rgba = new Uint8ClampedArray(images.length * height * width * 4);
  for (const [i, { png }] of images.entries()) {
    const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    rgba.set(context.getImageData(0, 0, width, height).data, i * height * width * 4);
  }
  return { count: images.length, width, height, rgba };
}
