/**
 * Every fenced `ts` block of the READMEs and documents is a program that type-checks. Blocks of one document are
 * separate programs; a block that is only a fragment is fenced as `text`. The compiler resolves workspace packages to
 * their sources.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { fencedBlocks, markdownFiles } from './fenced-blocks.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
interface CodeBlock {
  /** `docs/x.md:12`. */
  readonly place: string;
  readonly firstLine: number;
  readonly code: string;
  /** A file name beside the document, so that imports resolve as for a reader of it. */
  readonly fileName: string;
}

/** The `ts` blocks of a document. */
const codeBlocks = (document: string): CodeBlock[] =>
  fencedBlocks(document, /^(ts|typescript)$/).map(({ place, line, code }) => ({
    place,
    firstLine: line + 1,
    // Blocks without imports would be scripts that share one scope.
    code: `${code}\nexport {};\n`,
    fileName: path.join(path.dirname(document), `.block-${line}-${path.basename(document, '.md')}.ts`),
  }));

const blocks = [...markdownFiles(root)].flatMap(codeBlocks);

/** Wrong on purpose, so that a checker that sees nothing is noticed. */
const control: CodeBlock = {
  place: 'control',
  firstLine: 1,
  code: "import { sizeOf } from '@dimo/core';\nexport const size: string = sizeOf([2, 3]);\n",
  fileName: path.join(root, 'docs', '.block-control.ts'),
};

/** Messages of the compiler by block, each with the line in the document. */
function typeCheck(): Map<string, string[]> {
  const { config } = ts.readConfigFile(path.join(root, 'tsconfig.base.json'), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson((config as { compilerOptions: object }).compilerOptions, root);
  const byFile = new Map([...blocks, control].map((block) => [block.fileName, block]));
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.readFile = (name) => byFile.get(name)?.code ?? readFile.call(host, name);
  host.fileExists = (name) => byFile.has(name) || fileExists.call(host, name);
  host.getSourceFile = (name, ...rest) => {
    const block = byFile.get(name);
    if (!block) return getSourceFile.call(host, name, ...rest);
    return ts.createSourceFile(name, block.code, ts.ScriptTarget.ES2022);
  };
  const program = ts.createProgram([...byFile.keys()], { ...options, noEmit: true }, host);
  const messages = new Map<string, string[]>();
  for (const [fileName, block] of byFile) {
    const file = program.getSourceFile(fileName)!;
    const diagnostics = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
    messages.set(
      block.place,
      diagnostics.map(({ start = 0, messageText }) => {
        const line = block.firstLine + file.getLineAndCharacterOfPosition(start).line;
        return `line ${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
      }),
    );
  }
  return messages;
}

describe('code blocks of the documents', () => {
  const messages = typeCheck();

  it('are found', () => {
    expect(blocks.length).toBeGreaterThan(5);
    expect(messages.get('control')).toEqual([
      expect.stringMatching(/^line 2: Type 'number' is not assignable to type 'string'/),
    ]);
  });

  it.each(blocks.map(({ place }) => place))('%s type-checks', (place) => {
    expect(messages.get(place)).toEqual([]);
  });
});
