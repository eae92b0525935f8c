/**
 * Every fenced `ts` block of the READMEs and documents is a program that type-checks. Blocks of one document are
 * separate programs; a block that is only a fragment is fenced as `text`. The compiler resolves workspace packages to
 * their sources.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const skipped = new Set(['node_modules', 'dist', 'fixtures', '.git', '.nx', 'runs', 'coverage']);

function* markdownFiles(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (skipped.has(entry.name)) continue;
    const location = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* markdownFiles(location);
    else if (entry.name.endsWith('.md')) yield location;
  }
}

interface CodeBlock {
  /** `docs/x.md:12`. */
  readonly place: string;
  readonly firstLine: number;
  readonly code: string;
  /** A file name beside the document, so that imports resolve as for a reader of it. */
  readonly fileName: string;
}

/** The `ts` blocks of a document. */
function codeBlocks(document: string): CodeBlock[] {
  const lines = readFileSync(document, 'utf8').split('\n');
  const blocks: CodeBlock[] = [];
  for (let start = 0; start < lines.length; start++) {
    const fence = /^(\s*)(`{3,})(ts|typescript)\b/.exec(lines[start]!);
    if (!fence) continue;
    const end = lines.findIndex((line, i) => i > start && line.trim() === fence[2]);
    if (end < 0) throw new Error(`${document}:${start + 1}: the code block has no end`);
    blocks.push({
      place: `${path.relative(root, document)}:${start + 1}`,
      firstLine: start + 2,
      // Blocks without imports would be scripts that share one scope.
      code: `${lines.slice(start + 1, end).join('\n')}\nexport {};\n`,
      fileName: path.join(path.dirname(document), `.block-${start + 1}-${path.basename(document, '.md')}.ts`),
    });
    start = end;
  }
  return blocks;
}

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
