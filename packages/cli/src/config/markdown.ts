/** `docs/configuration.md`, written from the schema so that it cannot say anything else. */
import { maskgitConfigKeys } from '@dimo/teacher-maskgit';
import { tokenizerConfigKeys, type ConfigKey } from '@dimo/tokenizers';
import { configJsonSchema, expectedText, isFreeForm, type SchemaNode } from './describe-schema.js';
import { configSchema } from './schema.js';

/** The reference of the configuration file as Markdown. */
export function configurationMarkdown(): string {
  const root = configJsonSchema();
  const defaults = configSchema.parse({}) as Record<string, unknown>;
  const top = Object.entries(root.properties ?? {});
  const plain = top.filter(([, node]) => !node.properties);
  const sections = top.filter(([, node]) => node.properties);
  return [
    '# Configuration',
    '',
    '<!-- Written by scripts/write-configuration-docs.mjs from packages/cli/src/config/schema.ts; do not edit. -->',
    '',
    'A command reads `dimo.config.yaml` (or `.yml`, `.json`, `.ts`, `.mts`, `.js`, `.mjs`) in the current folder, or the file given',
    'with `--config`. Flags override the file, `--set key=value` sets any key: `--set distill.divergence.kind=jeffreys`.',
    'Every key has a default; unknown keys are refused with the nearest valid one, and so is a typed setting that the',
    'command would not read. `dimo info config` prints the resolved settings, with the sizes that follow from the dataset.',
    '',
    'YAML and JSON files are data: UTF-8, one document, at most 1 MiB and 32 levels, no directives, aliases, anchors or tags.',
    'A program (`.ts`, `.js` and so on) is run. One that is only found in the current folder is run, and plugins that a found',
    'file names are loaded, only where the folder is a project: it has a `package.json` of its own and holds no model and no',
    'run. Elsewhere name it with `--config`, or the plugins with `--plugin`. Two configuration files in one folder are an',
    'error. In a program, `defineConfig` gives the keys their types:',
    '',
    '```ts',
    "import { defineConfig } from '@dimo/cli';",
    '',
    "export default defineConfig({ teacher: { source: 'mnist' }, distill: { numSteps: 500, teacherGuidance: 2 } });",
    '```',
    '',
    'Text files (prompts, YAML, JSON, merges) are UTF-8, with or without a byte order mark; other encodings are refused by',
    'name. A file of prompts has one prompt a line, blank lines and white space at the ends of a line left out. A line ends',
    'with a line feed, a carriage return or both, a form feed, a vertical tab, U+0085, U+2028 or U+2029. All prompts are',
    'checked before the first step; those that are longer than the model reads are counted and told.',
    '',
    ...table(plain.flatMap(([key, node]) => rows(node, [key], defaults[key]))),
    ...sections.flatMap(([key, node]) => [
      `## ${key}`,
      '',
      node.description ?? '',
      '',
      ...table(rows(node, [key], defaults[key])),
    ]),
    ...architecture('train.tokenizer.config', 'The keys of a tokenizer.', tokenizerConfigKeys),
    ...architecture(
      'train.teacher.config',
      'The keys of a MaskGIT teacher, also those of `teacher.config` with `teacher.plugin: maskgit`.',
      maskgitConfigKeys,
    ),
  ].join('\n');
}

/** The keys of an architecture, which the package that makes it describes. */
function architecture(key: string, description: string, keys: readonly ConfigKey[]): string[] {
  return [
    `## ${key}`,
    '',
    description,
    '',
    ...table(
      keys.map(({ key: name, accepts, standard, meaning }) => ({
        key: `\`${name}\``,
        accepts,
        standard: standard ?? 'must be given',
        meaning,
      })),
    ),
  ];
}

interface Row {
  readonly key: string;
  readonly accepts: string;
  readonly standard: string;
  readonly meaning: string;
}

/** Rows of a key and of everything below it. */
function rows(node: SchemaNode, path: readonly string[], value: unknown): Row[] {
  if (node.properties)
    return Object.entries(node.properties).flatMap(([key, child]) =>
      rows(child, [...path, key], (value as Record<string, unknown> | undefined)?.[key]),
    );
  return [
    {
      key: `\`${path.join('.')}\``,
      accepts: isFreeForm(node) ? 'any keys' : expectedText(node).replace(/ \(1 to 4096 characters.*\)/, ''),
      standard: value === undefined ? '–' : `\`${JSON.stringify(value)}\``,
      meaning: node.description ?? '',
    },
  ];
}

function table(entries: readonly Row[]): string[] {
  if (entries.length === 0) return [];
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    line(['key', 'accepts', 'default', 'meaning']),
    line(['---', '---', '---', '---']),
    ...entries.map(({ key, accepts, standard, meaning }) => line([key, accepts, standard, meaning])),
    '',
  ];
}
