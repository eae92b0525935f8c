/**
 * Puts the sentence and the default of each option, which its schema states, into the declarations that a build has
 * written, so that an editor shows them wherever the options are given.
 *
 *   node ../../scripts/document-options.mjs      (in a package, after tsup)
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';

/** The fields of a schema, whatever is around them; undefined for a value. */
function shapeOf(type) {
  const def = type?._zod?.def;
  if (def?.type === 'object') return def.shape;
  return shapeInside(def);
}

function shapeInside(def) {
  const inner = def?.innerType ?? def?.out;
  return inner ? shapeOf(inner) : undefined;
}

const isField = (value) => value?._zod !== undefined;

/** The fields of what a package exports: of a schema, or of an object of fields. */
function fieldsOf(value) {
  if (isField(value)) return shapeOf(value);
  const isObject = typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  const all = isObject ? Object.values(value) : [];
  return all.length > 0 && all.every(isField) ? value : undefined;
}

/** The type literal that declares the fields of a section. */
function literalOf(node) {
  if (ts.isTypeLiteralNode(node)) return node;
  if (ts.isIntersectionTypeNode(node)) return literalOf(node.types[0]);
  return ts.isTypeReferenceNode(node) && node.typeArguments ? literalOf(node.typeArguments[0]) : undefined;
}

/** What an editor shall say of a field. */
function commentOf(field, existing) {
  const words = [field.description, existing].filter(Boolean).join(' ');
  const { success, data } = shapeOf(field) ? { success: false } : field.safeParse(undefined);
  const standard = success && data !== undefined ? ` @default ${JSON.stringify(data)}` : '';
  return `/** ${(words + standard).replaceAll('*/', '* /').replaceAll('\n', ' ')} */ `;
}

/**
 * Declarations with a comment at every option.
 *
 * @param {string} text - of a `.d.ts` file.
 * @param {Readonly<Record<string, unknown>>} exported - what the package exports, by the name of its declaration.
 */
export function documentOptions(text, exported) {
  const file = ts.createSourceFile('index.d.ts', text, ts.ScriptTarget.Latest, true);
  const edits = [];
  const document = (literal, fields) => {
    for (const member of literal.members) {
      const field = fields[member.name?.getText(file)];
      if (!isField(field) || !ts.isPropertySignature(member) || !member.type) continue;
      const existing = ts.getJSDocCommentsAndTags(member).filter(ts.isJSDoc);
      const said = existing.map(({ comment }) => ts.getTextOfJSDocComment(comment)).join(' ');
      const start = member.getStart(file);
      edits.push({ from: existing[0]?.pos ?? start, to: start, text: commentOf(field, said) });
      const shape = shapeOf(field);
      const inner = shape && literalOf(member.type);
      if (inner) document(inner, shape);
    }
  };
  for (const statement of file.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const { name, type } of statement.declarationList.declarations) {
      const fields = fieldsOf(exported[name.getText(file)]);
      const literal = fields && type && literalOf(type);
      if (literal) document(literal, fields);
    }
  }
  let result = text;
  for (const { from, to, text: comment } of edits.sort((a, b) => b.from - a.from))
    result = result.slice(0, from) + comment + result.slice(to);
  return result;
}

if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const entries = readdirSync('dist').filter((name) => name.endsWith('.js'));
  const declared = new Set(readdirSync('dist').filter((name) => name.endsWith('.d.ts')));
  const exported = {};
  for (const name of entries.filter((entry) => declared.has(entry.replace(/\.js$/, '.d.ts'))))
    if (name !== 'main.js') Object.assign(exported, await import(pathToFileURL(resolve('dist', name)).href));
  for (const name of declared) {
    const path = join('dist', name);
    const text = readFileSync(path, 'utf8');
    const documented = documentOptions(text, exported);
    if (documented !== text) writeFileSync(path, documented);
  }
}
