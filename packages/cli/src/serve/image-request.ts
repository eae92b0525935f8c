/** The body of `POST /v1/images`, checked field by field. */
import type { SamplerSettings } from '@dimo/core';
import { parseClasses } from '@dimo/pipeline';
import { HttpProblem, type ServeLimits } from './limits.js';

/** A checked request. */
export interface ImageRequest {
  /** @default the first model */
  readonly model: string | undefined;
  /** Prompts or classes, one each; empty for whatever the model draws. */
  readonly texts: readonly string[];
  /** Number of samples; texts are taken in turn. */
  readonly count: number;
  readonly seed: number | undefined;
  /** Rounded to hundredths: every other value is compiled anew. */
  readonly temperature: number | undefined;
  /** Teachers only: name and options of a sampler. */
  readonly sampler: SamplerSettings | undefined;
}

const knownKeys = ['model', 'classes', 'prompts', 'seed', 'count', 'temperature', 'sampler', 'steps'];

/** Options of a sampler that one request may set. */
const maximumSamplerOptions = 20;

/**
 * Checks a parsed body.
 *
 * @throws HttpProblem 400 naming the first field that is wrong.
 */
export function parseImageRequest(
  value: unknown,
  limits: Pick<ServeLimits, 'samples' | 'promptLength' | 'steps'>,
): ImageRequest {
  const fail = (message: string): HttpProblem => new HttpProblem(400, message);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw fail(`the body must be an object with some of ${knownKeys.join(', ')}`);
  const given = new Map<string, unknown>(Object.entries(value));
  for (const key of given.keys())
    if (!knownKeys.includes(key))
      throw fail(`unknown key ${JSON.stringify(key.slice(0, 60))}; known are ${knownKeys.join(', ')}`);
  const number = (key: string, isGood: (x: number) => boolean, expected: string): number | undefined => {
    const x = given.get(key);
    if (x === undefined || (typeof x === 'number' && isGood(x))) return x;
    throw fail(`${key} must be ${expected}`);
  };
  const model = given.get('model');
  if (model !== undefined && (typeof model !== 'string' || model.length > 200)) throw fail('model must be a name');
  const classes = given.get('classes');
  const prompts = given.get('prompts');
  if (classes !== undefined && prompts !== undefined) throw fail('classes and prompts exclude each other');
  const texts = prompts === undefined ? readClasses(classes, limits.samples) : readPrompts(prompts, limits);
  const { samples } = limits;
  const count = number(
    'count',
    (x) => Number.isInteger(x) && x >= 1 && x <= samples,
    `an integer from 1 to ${samples}`,
  );
  const seed = number('seed', (x) => Number.isInteger(x) && x >= 0 && x < 2 ** 32, 'an integer from 0 to 4294967295');
  const temperature = number('temperature', isTemperature, 'a number from 0.01 to 100');
  return {
    model,
    texts,
    count: count ?? Math.max(1, texts.length),
    seed,
    temperature: temperature === undefined ? undefined : rounded(temperature),
    sampler: readSampler(given.get('sampler'), given.get('steps'), limits),
  };
}

/** Options of a sampler that are left to whoever runs the server: a request with them costs many times as much. */
const reservedOptions = ['method', 'reference'];

/** A temperature that a request may ask for. */
const isTemperature = (x: number): boolean => x >= 0.01 && x <= 100;

/** Every other value is compiled anew. */
const rounded = (temperature: number): number => Math.round(temperature * 100) / 100;

/**
 * Refuses what takes too long, by any sampler: some take a pass for each token, others two for each step.
 *
 * @param passes - most forward passes that a sample of the request takes.
 * @param own - those of the model as it is served; a request may always take as many.
 * @throws HttpProblem 400
 */
export function checkPasses(passes: number, own: number, { steps }: Pick<ServeLimits, 'steps'>): void {
  const maximum = Math.max(steps, own);
  if (!(passes <= maximum))
    throw new HttpProblem(400, `the sampler asked for takes ${passes} passes, at most ${maximum} are allowed`, {
      hint: 'ask for fewer steps, or another sampler',
    });
}

/** A sampler by name, or with options; a number of steps alone is that of the teacher's own. */
function readSampler(
  sampler: unknown,
  steps: unknown,
  { steps: maximum }: Pick<ServeLimits, 'steps'>,
): SamplerSettings | undefined {
  if (sampler === undefined && steps === undefined) return undefined;
  const settings: unknown = typeof sampler === 'string' ? { name: sampler } : (sampler ?? {});
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    throw new HttpProblem(400, 'sampler must be a name, or an object with a name and options');
  const entries = Object.entries(settings);
  const isPlain = (option: unknown): boolean =>
    typeof option === 'number' || typeof option === 'boolean' || (typeof option === 'string' && option.length <= 100);
  if (entries.length > maximumSamplerOptions || !entries.every(([key, option]) => key.length <= 60 && isPlain(option)))
    throw new HttpProblem(400, 'sampler must have a few options that are numbers, true, false or short words');
  const given = new Map<string, unknown>(entries);
  const reserved = reservedOptions.find((option) => given.has(option));
  if (reserved !== undefined) throw new HttpProblem(400, `sampler.${reserved} is not for requests`);
  const temperature = given.get('temperature');
  if (temperature !== undefined && !(typeof temperature === 'number' && isTemperature(temperature)))
    throw new HttpProblem(400, 'sampler.temperature must be a number from 0.01 to 100');
  if (steps !== undefined && given.has('numSteps'))
    throw new HttpProblem(400, 'steps and sampler.numSteps exclude each other');
  const numSteps = steps ?? given.get('numSteps');
  if (
    numSteps !== undefined &&
    (typeof numSteps !== 'number' || !Number.isInteger(numSteps) || numSteps < 1 || numSteps > maximum)
  )
    throw new HttpProblem(
      400,
      `${steps === undefined ? 'sampler.numSteps' : 'steps'} must be an integer from 1 to ${maximum}`,
    );
  return {
    ...Object.fromEntries(entries),
    ...(temperature === undefined ? {} : { temperature: rounded(temperature) }),
    ...(numSteps === undefined ? {} : { numSteps }),
  };
}

function readClasses(value: unknown, maximum: number): string[] {
  if (value === undefined) return [];
  const wrong = new HttpProblem(
    400,
    `classes must be a list of up to ${maximum} ids or names, or a text such as "0-9"`,
  );
  if (typeof value === 'string' && value.length <= 1000) {
    return parseClasses(value, undefined, maximum);
  }
  if (!Array.isArray(value) || value.length === 0 || value.length > maximum) throw wrong;
  return value.map((item: unknown) => {
    if (typeof item === 'number' && Number.isInteger(item) && item >= 0) return String(item);
    if (typeof item === 'string' && item.length <= 200) return item;
    throw wrong;
  });
}

function readPrompts(
  value: unknown,
  { samples, promptLength }: Pick<ServeLimits, 'samples' | 'promptLength'>,
): string[] {
  const wrong = (why: string): HttpProblem =>
    new HttpProblem(400, `prompts must be a list of 1 to ${samples} texts${why}`);
  if (!Array.isArray(value) || value.length === 0 || value.length > samples) throw wrong('');
  return value.map((item: unknown) => {
    if (typeof item !== 'string') throw wrong('');
    if (item.length > promptLength) throw wrong(` of up to ${promptLength} characters`);
    if (/[\p{Surrogate}\0]/u.test(item)) throw wrong(' without lone surrogates and null characters');
    return item;
  });
}
