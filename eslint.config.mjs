import nx from '@nx/eslint-plugin';
import jsdoc from 'eslint-plugin-jsdoc';
import tseslint from 'typescript-eslint';

/** Tags of what models are made of: architectures, and weights. */
const models = ['type:teacher', 'type:composed-teacher', 'type:data'];

/** Which packages a package may import, by tag: arrows point from the command line down to core. */
const depConstraints = [
  { sourceTag: 'type:core', onlyDependOnLibsWithTags: [] },
  { sourceTag: 'type:onnx', onlyDependOnLibsWithTags: ['type:core'] },
  { sourceTag: 'type:kernels', onlyDependOnLibsWithTags: ['type:core'] },
  { sourceTag: 'type:backend', onlyDependOnLibsWithTags: ['type:core', 'type:onnx', 'type:kernels'] },
  { sourceTag: 'type:tokenizers', onlyDependOnLibsWithTags: ['type:core'] },
  { sourceTag: 'type:teacher', onlyDependOnLibsWithTags: ['type:core', 'type:tokenizers'] },
  // A teacher put together from the parts of others.
  { sourceTag: 'type:composed-teacher', onlyDependOnLibsWithTags: ['type:core', 'type:tokenizers', 'type:teacher'] },
  { sourceTag: 'type:data', onlyDependOnLibsWithTags: [] },
  { sourceTag: 'type:dataset', onlyDependOnLibsWithTags: ['type:core'] },
  { sourceTag: 'type:eval', onlyDependOnLibsWithTags: ['type:core'] },
  { sourceTag: 'type:example', onlyDependOnLibsWithTags: ['type:core', 'type:backend', ...models] },
  { sourceTag: 'type:pipeline', onlyDependOnLibsWithTags: ['type:core', 'type:backend', ...models] },
  {
    sourceTag: 'type:app',
    onlyDependOnLibsWithTags: [
      'type:core',
      'type:onnx',
      'type:backend',
      'type:pipeline',
      'type:dataset',
      'type:eval',
      'type:tokenizers',
      ...models,
    ],
  },
  {
    sourceTag: 'type:page',
    onlyDependOnLibsWithTags: ['type:core', 'type:onnx', 'type:backend', 'type:pipeline', ...models],
  },
  // Shows the page, and reads the definition of the command line.
  { sourceTag: 'type:site', onlyDependOnLibsWithTags: ['type:app', 'type:page'] },
  { sourceTag: 'type:test', onlyDependOnLibsWithTags: ['*'] },
];

/**
 * Folders of a package's sources, lowest first: a file imports from its own folder and from those before it, so no circle
 * of folders can arise. `docs/architecture.md` says what belongs into each.
 */
const coreFolders = [
  'text',
  'options',
  'tensors',
  'compiled',
  'random',
  'ops',
  'storage',
  'weight-files',
  'engine',
  'model',
  'sampling',
  'generator',
  'training',
  'distillation',
  'plugin',
  'folders',
  'layers',
  'testing',
  'conformance',
];
const cliFolders = [
  'output',
  'flags',
  'config',
  'run',
  'project',
  'models',
  'training',
  'plan',
  'evaluation',
  'features',
  'export',
  'serve',
  'watch',
  'commands',
  'program',
];
const noNodeModules = { group: ['node:*'], message: 'This package runs in browsers too: take bytes as arguments.' };

/** Packages whose sources must run in a browser too. */
const backendAgnostic = [
  'core',
  'onnx',
  'kernels',
  'backend-web',
  'tokenizers',
  'teacher-maskgit',
  'teacher-meissonic',
  'teacher-words',
  'presets',
].map((name) => `packages/${name}/src/**/*.ts`);
const browserSources = [
  ...backendAgnostic,
  // Node's half of the pipeline is one file.
  'packages/pipeline/src/{generate,model,pictures,worker}/**/*.ts',
  'packages/pipeline/src/hosts/{pipeline,browser}.ts',
  'packages/pipeline/src/{browser,shared,teachers}.ts',
  'apps/playground/src/**/*.ts',
];

export default tseslint.config(
  {
    ignores: [
      '**/dist/**',
      '**/node_modules/**',
      '.nx/**',
      'tests/fixtures/**',
      '**/*.py',
      'apps/*/public/**',
      'apps/site/generated/**',
      'packages/core/assembly/**', // AssemblyScript
    ],
  },
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts', '**/*.mjs'],
    plugins: { '@nx': nx, jsdoc },
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        { enforceBuildableLibDependency: false, allow: ['.*/\\w+\\.base\\.js$'], depConstraints },
      ],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      'max-lines': ['error', { max: 400, skipBlankLines: false, skipComments: false }],
      eqeqeq: 'error',
    },
  },
  {
    // Tests look at what packages do not export, and share their support.
    files: ['tests/**/*.ts', 'packages/*/src/**/*.test.ts'],
    rules: {
      '@nx/enforce-module-boundaries': [
        'error',
        {
          enforceBuildableLibDependency: false,
          allow: [
            '.*/\\w+\\.base\\.js$',
            '^(\\.\\./)+packages/[\\w-]+/src/.*',
            '^(\\.\\./)+scripts/.*',
            '^(\\.\\./)+tests/support/.*',
          ],
          depConstraints,
        },
      ],
    },
  },
  {
    files: ['packages/*/src/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'jsdoc/require-jsdoc': [
        'error',
        {
          publicOnly: true,
          require: { FunctionDeclaration: true, ClassDeclaration: true },
          contexts: ['TSInterfaceDeclaration', 'TSTypeAliasDeclaration'],
        },
      ],
    },
  },
  {
    files: browserSources,
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': ['error', { patterns: [noNodeModules] }],
    },
  },
  ...folderOrder('core', coreFolders, [noNodeModules]),
  ...folderOrder('cli', cliFolders),
  {
    // `dimo --help` reads these files: what a command does is imported when it runs.
    files: ['packages/cli/src/commands/*.flags.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [{ regex: '^(?!commander$|\\.\\./flags/)', message: 'Import the work of a command when it runs.' }],
        },
      ],
    },
  },
);

/** Rules by folder: no import from a folder that stands above it, nor what `patterns` refuses in the whole package. */
function folderOrder(name, folders, patterns = []) {
  return folders.map((folder, i) => ({
    files: [`packages/${name}/src/${folder}/**/*.ts`],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            ...patterns,
            {
              regex: `^(\\.\\./)+(${[...folders.slice(i + 1).map((above) => `${above}/`), '(index|main)\\.js$'].join('|')})`,
              message: `${folder}/ stands below that; see ${name}Folders in eslint.config.mjs.`,
            },
          ],
        },
      ],
    },
  }));
}
