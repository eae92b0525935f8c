/** Trained models as data: what each is, and where its files are, in Node and in browsers. */
import { presetFiles } from './files.js';
import type { PresetFile } from './preset-file.js';

export type { PresetFile } from './preset-file.js';

/** A trained teacher and the one-step generator that was distilled from it. */
export interface Preset {
  readonly name: string;
  /** For lists of models: `MNIST digits, 28 × 28`. */
  readonly title: string;
  /** One line. */
  readonly description: string;
  /** Name of the teacher plugin that reads the files. */
  readonly teacher: string;
  /** Prompts to begin with; empty where classes are drawn. */
  readonly examples: readonly string[];
  /** Of the teacher; those of the generator in `generator/`. Names have `/` between folders. */
  readonly files: Readonly<Record<string, PresetFile>>;
}

/** The presets by name. */
export const presets: Readonly<Record<'mnist' | 'emoji', Preset>> = {
  mnist: {
    name: 'mnist',
    title: 'MNIST digits, 28 × 28',
    description: 'MNIST digits, 28 x 28: patch-VQ with 64 codes, 7 x 7 tokens, transformer of 0.5 M parameters',
    teacher: 'maskgit',
    examples: [],
    files: presetFiles.mnist,
  },
  emoji: {
    name: 'emoji',
    title: 'Emoji from words',
    description:
      'emoji from their names, 32 x 32: patch-VQ with 1,024 codes, 8 x 8 tokens, a vocabulary of 2,209 words',
    teacher: 'emoji-meissonic',
    examples: ['grinning face', 'red heart', 'blue heart', 'cat face', 'green frog', 'red apple', 'sunflower'],
    files: presetFiles.emoji,
  },
};

/** The preset of a name, or undefined. */
export function findPreset(name: string): Preset | undefined {
  return Object.hasOwn(presets, name) ? presets[name as keyof typeof presets] : undefined;
}

/**
 * Address of a preset's folder, with a slash at the end. In Node it holds the files of the preset; in browsers only where
 * the server keeps them under their names, which bundlers do not.
 */
export function presetFolder({ files }: Pick<Preset, 'files'>): string {
  return new URL('./', files['config.json']!.url).href;
}
