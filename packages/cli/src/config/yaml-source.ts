/**
 * Reads YAML (JSON is a subset) as plain data with the line of every key, within limits, and without aliases, anchors
 * and tags: a configuration is data, not a program.
 */
import { isMap, isNode, isPair, isScalar, isSeq, Lexer, LineCounter, parseDocument, visit, type Node } from 'yaml';

/** Bytes beyond which a configuration is refused. */
export const maximumConfigBytes = 2 ** 20;
/** Nesting beyond which a configuration is refused. */
export const maximumConfigDepth = 32;

/** Tokens of YAML beyond which a configuration is refused: the parser needs seconds for a megabyte of commas. */
const maximumTokens = 2 ** 16;
/** Faults of the text that are listed. */
const maximumFaults = 20;
const severalDocuments = 'a second document begins here (---); a configuration is one document';

/** A key's place in the tree: `['distill', 'steps']`. */
export type KeyPath = readonly (string | number)[];

/** Something wrong with a configuration. */
export interface ConfigProblem {
  /** The key at fault; empty for the file as a whole. */
  readonly path: KeyPath;
  /** Where the key was written: `dimo.config.yaml:12`, `--set seed=x`. */
  readonly where: string;
  /** What is wrong and what was expected. */
  readonly message: string;
}

/** Plain data and where its keys were written. */
export interface ConfigSource {
  readonly value: unknown;
  /** Lines by `pathText` of the key. */
  readonly lines: ReadonlyMap<string, number>;
  readonly problems: readonly ConfigProblem[];
}

/** `distill.tokenInit.maskRatio`, `plugins[0]`. */
export function pathText(path: KeyPath): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  );
}

/**
 * Reads YAML or JSON text.
 *
 * @param given - the file's content.
 * @param where - its name, for messages.
 * @returns the data, or undefined as `value` if the problems leave nothing to read.
 */
export function readYaml(given: string, where: string): ConfigSource {
  // The parser takes a carriage return alone for part of the line: what follows a comment would be lost.
  const text = given.replace(/\r\n?/g, '\n');
  const lines = new Map<string, number>();
  const fail = (message: string, line?: number): ConfigSource => ({
    value: undefined,
    lines,
    problems: [{ path: [], where: line === undefined ? where : `${where}:${line}`, message }],
  });
  if (Buffer.byteLength(text) > maximumConfigBytes)
    return fail(`the configuration is larger than ${maximumConfigBytes} bytes`);
  const tooDeep = `nested deeper than ${maximumConfigDepth} levels`;
  const { depth, isLong } = measureTokens(text);
  if (depth > maximumConfigDepth * 4) return fail(tooDeep);
  if (isLong) return fail(`has more than ${maximumTokens} words and signs; a configuration is a short text`);

  const counter = new LineCounter();
  const problems: ConfigProblem[] = [];
  let numRefused = 0;
  try {
    const document = parseDocument(text, {
      lineCounter: counter,
      uniqueKeys: false,
      prettyErrors: false,
      stringKeys: true,
      // With `silent`, further documents would be dropped without a word.
      logLevel: 'error',
    });
    const lineAt = (offset: number | undefined) => (offset === undefined ? undefined : counter.linePos(offset).line);
    // Tags have a message of their own below.
    const warnings = document.warnings.filter(({ code }) => code !== 'TAG_RESOLVE_FAILED');
    const faults = [...document.errors, ...warnings];
    const directive = directiveOffset(text);
    if (directive !== undefined)
      return fail('directives (%YAML, %TAG) are not allowed in a configuration', lineAt(directive));
    if (faults.length > 0) {
      const shown = faults.slice(0, maximumFaults).map((error) => ({
        path: [],
        where: `${where}:${lineAt(error.pos[0]) ?? 1}`,
        message: error.code === 'MULTIPLE_DOCS' ? severalDocuments : firstLine(error.message),
      }));
      return { value: undefined, lines, problems: shown };
    }
    const refuse = (node: Node, message: string) => {
      if (++numRefused <= maximumFaults)
        problems.push({ path: [], where: `${where}:${lineAt(node.range?.[0]) ?? 1}`, message });
    };
    visit(document, {
      Alias: (_, node) => void refuse(node, 'aliases (*name) are not allowed in a configuration; write the value out'),
      Node: (_, node) => {
        if ('anchor' in node && node.anchor) refuse(node, 'anchors (&name) are not allowed in a configuration');
        // The reader leaves `tag` undefined unless the text has one.
        if (node.tag !== undefined) refuse(node, 'tags (!name) are not allowed in a configuration');
      },
    });
    if (problems.length > 0) return { value: undefined, lines, problems };
    const value = plain(document.contents, [], { lines, problems, where, lineAt });
    return { value, lines, problems };
  } catch (error) {
    if (error instanceof DepthError || error instanceof RangeError) return fail(tooDeep);
    return fail(`cannot be read as YAML: ${firstLine(error instanceof Error ? error.message : String(error))}`);
  }
}

/** One YAML value of a flag: `0.5`, `[a, b]`, `mnist`. Never throws; what cannot be read stays text. */
export function readYamlValue(text: string): unknown {
  const { value, problems } = readYaml(text, 'value');
  return problems.length > 0 ? text : value;
}

class DepthError extends Error {}

interface ReadState {
  readonly lines: Map<string, number>;
  readonly problems: ConfigProblem[];
  readonly where: string;
  lineAt(offset: number | undefined): number | undefined;
}

/** Plain data of a node; records lines, reports duplicate keys. */
function plain(node: unknown, path: KeyPath, state: ReadState): unknown {
  if (path.length > maximumConfigDepth) throw new DepthError();
  if (isNode(node)) {
    const line = state.lineAt(node.range?.[0]);
    if (line !== undefined && !state.lines.has(pathText(path))) state.lines.set(pathText(path), line);
  }
  if (isScalar(node)) return node.value;
  if (isSeq(node)) return node.items.map((item, i) => plain(item, [...path, i], state));
  if (!isMap(node)) return null;
  const entries = new Map<string, unknown>();
  for (const pair of node.items) {
    if (!isPair(pair)) continue;
    const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
    const at = [...path, key];
    const line = isNode(pair.key) ? state.lineAt(pair.key.range?.[0]) : undefined;
    const place = pathText(at);
    if (entries.has(key)) {
      state.problems.push({
        path: at,
        where: `${state.where}:${line ?? '?'}`,
        message: `is given twice, first in line ${state.lines.get(place) ?? '?'}; remove one of them`,
      });
      continue;
    }
    if (line !== undefined) state.lines.set(place, line);
    entries.set(key, plain(pair.value, at, state));
  }
  return Object.fromEntries(entries);
}

/**
 * Deepest nesting of brackets and of compact `- - -` or `? ? ?`, counted without recursion, and whether there is too much
 * to be parsed in a moment. Reads no further than that.
 */
function measureTokens(text: string): { readonly depth: number; readonly isLong: boolean } {
  let count = 0;
  let depth = 0;
  let inLine = 0;
  let deepest = 0;
  for (const token of new Lexer().lex(text)) {
    if (++count > maximumTokens) return { depth: deepest, isLong: true };
    if (token === '[' || token === '{') depth++;
    else if (token === ']' || token === '}') depth--;
    else if (token === '-' || token === '?' || token === ':') inLine++;
    else if (token.includes('\n')) inLine = 0;
    deepest = Math.max(deepest, depth, inLine / 4);
  }
  return { depth: deepest, isLong: false };
}

/** Offset of the first directive, or undefined if there is none: a line before the document that begins with a percent sign. */
function directiveOffset(text: string): number | undefined {
  const head = /^(?:[ \t]*(?:#[^\n]*)?\n)*%/.exec(text.replace(/^\ufeff/, ' '));
  return head ? head[0].length - 1 : undefined;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
