/**
 * The model card of a generator: README.md with the YAML head that hubs read. What comes from strangers (names, settings)
 * is shown as code, so that it is neither markup nor YAML.
 */
import { escapeText, type LoadedGenerator, type TeacherDefinition } from '@dimo/core';
import { createHash } from 'node:crypto';
import { stringify } from 'yaml';

/** Name of the file. */
export const modelCardName = 'README.md';

/** What a card says. */
export interface ModelCardFacts {
  readonly description: LoadedGenerator['description'];
  /** What conditions it. */
  readonly conditionedBy: 'class' | 'text' | 'other';
  /** The picture's height, width and channels; absent if it makes tokens alone. */
  readonly imageShape: readonly number[] | undefined;
  /** Settings of the distillation that differ from their defaults, by key. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** As the teacher's own card says it: `apache-2.0`. */
  readonly licence: string | undefined;
  /** The teacher on a hub, `owner/repository`. */
  readonly baseModel: string | undefined;
}

/** A table of figures and what it was measured with. */
export interface CardFigures {
  /** The head and then the rows. */
  readonly cells: readonly (readonly string[])[];
  readonly engine: string;
  readonly notes: readonly string[];
}

const unknownLicence = 'unknown';
const beginFigures = '<!-- figures of dimo eval -->';
const endFigures = '<!-- end of figures -->';
const seal =
  /\n<!-- written by dimo, ([0-9a-f]{16}): the head above may be edited, what is below it is written anew -->\n$/;
const head = /^---\n[\s\S]*?\n---\n/;

/** The YAML that hubs read. */
export function cardHead({
  licence,
  baseModel,
  library,
  isOneStep,
  conditionedBy,
  imageShape,
}: Omit<ModelCardFacts, 'description' | 'settings'> & {
  readonly library: string;
  readonly isOneStep: boolean;
}): string {
  const task = conditionedBy === 'text' ? 'text-to-image' : 'unconditional-image-generation';
  const yaml = stringify({
    license: licence ?? unknownLicence,
    library_name: library,
    ...(imageShape ? { pipeline_tag: task } : {}),
    tags: ['dimo', 'masked-diffusion', 'distillation', isOneStep ? 'one-step-generation' : 'few-step-generation'],
    ...(baseModel === undefined ? {} : { base_model: baseModel }),
  });
  return `---\n${yaml}---\n`;
}

/** What conditions a model, as far as that shows. */
export function conditionKind(
  definition: Pick<TeacherDefinition, 'conditions' | 'conditionFiles' | 'model' | 'prepareConditions'>,
): ModelCardFacts['conditionedBy'] {
  if (definition.conditions.classNames || 'label' in definition.model.condition) return 'class';
  return definition.conditionFiles || definition.prepareConditions ? 'text' : 'other';
}

/** The card, before anything was measured. */
export function modelCard(facts: ModelCardFacts): string {
  const { description, conditionedBy, imageShape, settings, licence, baseModel } = facts;
  const { teacher, algorithm, training = {}, tokenInit, sampler } = description;
  const lines = [
    ['Teacher', named(training['teacher'] ?? teacher.name)],
    ['Plugin of the teacher', code(teacher.name)],
    ['Model', code(description.model)],
    ['Algorithm', code(algorithm ?? 'dimo')],
    ['Passes', tokenInit ? 'one' : `those of the sampler ${code(String(sampler?.name))}`],
    ...(imageShape ? [['Pictures', imageShape.join(' x ')]] : []),
    ...['steps', 'batchSize', 'seed', 'engine', 'dimo']
      .filter((key) => training[key] !== undefined)
      .map((key) => [key === 'dimo' ? 'Version of dimo' : capitalized(key), code(String(training[key]))]),
    ...Object.entries(settings).map(([key, value]) => [code(key), code(JSON.stringify(value))]),
  ];
  const asked = { class: " --classes '0-9'", text: ' "a red ball"', other: '' }[conditionedBy];
  const prompts = { class: "['0', '1']", text: "['a red ball']", other: '[]' }[conditionedBy];
  const start = cardHead({
    licence,
    baseModel,
    library: 'dimo',
    isOneStep: tokenInit !== undefined,
    conditionedBy,
    imageShape,
  });
  const body = `
# ${title(description)}

${tokenInit ? 'A one-step generator' : 'A generator'}, distilled from a masked diffusion model with
[dimo](https://www.npmjs.com/package/@dimo/cli) (Di[M]O, arXiv [2503.15457](https://arxiv.org/abs/2503.15457)).

| | |
| --- | --- |
${lines.map(([name, value]) => `| ${name} | ${value} |`).join('\n')}

## Figures

${beginFigures}
None yet: \`dimo eval --model FOLDER\` measures them.
${endFigures}

## Use

\`\`\`sh
npx @dimo/cli sample${asked} --model FOLDER --out picture.png
\`\`\`

\`\`\`js
import { pipeline } from '@dimo/pipeline';

const generate = await pipeline('FOLDER'); // or hf:owner/repository
const [picture] = await generate(${prompts}, { seed: 1 });
await picture.save('picture.png');
await generate.dispose();
\`\`\`

FOLDER is the folder of this file. For Python, \`npx @dimo/cli export FOLDER --out exported\` writes one ONNX file, and a
README.md beside it with a program that runs it; \`--to pytorch\` writes the weights under their original names.

## Configuration

${fenced('json', JSON.stringify(description, null, 2))}

## Licence

${
  licence === undefined
    ? 'Nobody has said it: the teacher comes without one that is known here. Ask whoever made the teacher, and put the answer\nin place of `unknown` in the first lines of this file.'
    : `That of the teacher, as its own card says: ${code(licence)}.`
}
`;
  return sealed(start, body);
}

/**
 * What a folder's card becomes.
 *
 * @param existing - the card that is there.
 * @param card - the new one; the head of an existing card is kept, since people say the licence there.
 * @returns undefined if somebody else has written the existing one, or changed it: then it stays.
 */
export function replacedCard(existing: string | undefined, card: string): string | undefined {
  if (existing === undefined) return card;
  const parts = ours(existing);
  return parts && sealed(parts.head, ours(card)!.body);
}

/** The card with figures in place of those that it had; undefined if somebody else has written or changed it. */
export function cardWithFigures(existing: string, { cells, engine, notes }: CardFigures): string | undefined {
  const parts = ours(existing);
  if (!parts) return undefined;
  const [first = [], ...rows] = cells.map((row) => row.map((cell) => code(cell)));
  const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`;
  const table = [line(first), line(first.map(() => '---')), ...rows.map(line)].join('\n');
  const said = notes.map((note) => `- ${code(note)}`).join('\n');
  const figures = `${table}\n\nEngine: ${code(engine)}.\n${said === '' ? '' : `\n${said}\n`}`;
  const begin = parts.body.indexOf(`\n${beginFigures}\n`);
  const end = parts.body.indexOf(`\n${endFigures}\n`);
  if (begin < 0 || end < begin) return undefined;
  return sealed(
    parts.head,
    `${parts.body.slice(0, begin + beginFigures.length + 2)}${figures}${parts.body.slice(end + 1)}`,
  );
}

/** Head and body of a card that was written here and whose body nobody has changed. */
function ours(card: string): { readonly head: string; readonly body: string } | undefined {
  const mark = seal.exec(card);
  const start = head.exec(card)?.[0] ?? '';
  if (!mark || mark.index < start.length) return undefined;
  const body = card.slice(start.length, mark.index);
  return digest(body) === mark[1] ? { head: start, body } : undefined;
}

function sealed(start: string, body: string): string {
  return `${start}${body}\n<!-- written by dimo, ${digest(body)}: the head above may be edited, what is below it is written anew -->\n`;
}

function digest(body: string): string {
  return createHash('sha256').update(body).digest('hex').slice(0, 16);
}

function title({ model }: LoadedGenerator['description']): string {
  return code(model);
}

/** A name; of a path, which may tell about somebody's machine, the end alone. */
function named(value: unknown): string {
  const text = String(value);
  return code(text.startsWith('hf:') ? text : text.split(/[/\\]/).filter(Boolean).slice(-2).join('/') || text);
}

function capitalized(key: string): string {
  const words = key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Text of strangers, in a table or in prose: nothing in it is markup. */
function code(text: string): string {
  const safe = escapeText(text, 300);
  // A fence longer than any in the text; in a table a bar would end the cell even so.
  const fence = '`'.repeat(longestRun(safe) + 1);
  const pad = /^[` ]|[` ]$/.test(safe) || safe === '' ? ' ' : '';
  return `${fence}${pad}${safe.replaceAll('|', '\\|')}${pad}${fence}`;
}

function fenced(language: string, text: string): string {
  const safe = text
    .split('\n')
    .map((line) => escapeText(line, 8 * line.length))
    .join('\n');
  const fence = '`'.repeat(Math.max(3, longestRun(safe) + 1));
  return `${fence}${language}\n${safe}\n${fence}`;
}

function longestRun(text: string): number {
  return Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length));
}
