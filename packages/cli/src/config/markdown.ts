/** `docs/configuration.md`, written from the schema so that it cannot say anything else. */
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
    'Every key has a default; unknown keys are refused with the nearest valid one. YAML and JSON files are data: at most',
    '1 MiB, 32 levels, no aliases, anchors or tags. `dimo info config` prints the resolved settings.',
    '',
    ...table(plain.flatMap(([key, node]) => rows(node, [key], defaults[key]))),
    ...sections.flatMap(([key, node]) => [
      `## ${key}`,
      '',
      node.description ?? '',
      '',
      ...table(rows(node, [key], defaults[key])),
    ]),
  ].join('\n');
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
